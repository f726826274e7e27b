//! A worker: a process that plays its part in one history after the other.

use std::io;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use harness::carrier::message_of;
use harness::{Carrier, End as _, Value, memory, processors};
use histories::history::{Answer, End, SLOTS, What};
use ringpipe::messages::{self, Messages};
use ringpipe::{
    BulkError, Kind, MessageError, Mpmc, MpmcMessages, RecvHandle, RecvTimeoutError, Ring,
    SendHandle, SendTimeoutError, Spsc, SpscMessages, TryRecvError, TrySendError, WaitPolicy,
};

use crate::ambush;
use crate::board::{Board, Lane, sleep, wake};
use crate::plan::{Ambush, Form, Places, Step};
use crate::survey::Survey;

/// The shortest there is: deaths should be noticed within a history.
const INTERVAL: Duration = Duration::from_millis(1);

/// A ring as it was last opened: the number of the ring, and the ring.
type Opened<K> = Option<(u32, Ring<<K as Carrier<u64>>::Element, K>)>;

/// A kind of ring, and how its ends make a call of a history.
pub trait Acts: Carrier<u64> {
    /// How the board calls it.
    const CODE: u32;

    /// Makes a sending call.
    fn send(tx: &mut Self::Sender, step: Step, values: &[u64]) -> Result<Answer, String>;
    /// Makes a receiving call. `kept`: what this end has given back itself.
    fn receive(rx: &mut Self::Receiver, step: Step, kept: &mut u8) -> Result<Answer, String>;
}

macro_rules! of_values {
    ($($kind:ty: $code:literal),*) => {$(
        impl Acts for $kind {
            const CODE: u32 = $code;

            fn send(tx: &mut Self::Sender, step: Step, values: &[u64]) -> Result<Answer, String> {
                send(tx, step, values)
            }
            fn receive(rx: &mut Self::Receiver, step: Step, _: &mut u8) -> Result<Answer, String> {
                receive(rx, step)
            }
        }
    )*};
}
of_values!(Spsc: 0, Mpmc: 1);

macro_rules! of_messages {
    ($($kind:ty: $code:literal),*) => {$(
        impl Acts for $kind {
            const CODE: u32 = $code;

            fn send(tx: &mut Self::Sender, step: Step, values: &[u64]) -> Result<Answer, String> {
                send_message(tx, step, values[0])
            }
            fn receive(
                rx: &mut Self::Receiver,
                step: Step,
                kept: &mut u8,
            ) -> Result<Answer, String> {
                receive_messages(rx, step, kept)
            }
        }
    )*};
}
of_messages!(SpscMessages: 2, MpmcMessages: 3);

/// Works until it is killed; `last`: the last call for its lane that was another's.
pub fn work(
    board: &'static Board,
    index: usize,
    overseer: u32,
    mut last: u32,
    survey: &Survey,
) -> Result<(), String> {
    ambush::prepare(&board.stamp)?;
    ambush::own_instructions()?;
    let lane = &board.lanes[index];
    let mut spsc: Opened<Spsc> = None;
    let mut mpmc: Opened<Mpmc> = None;
    let mut spsc_messages: Opened<SpscMessages> = None;
    let mut mpmc_messages: Opened<MpmcMessages> = None;
    let mut places = None;
    loop {
        while lane.call.load(Acquire) == last {
            sleep(&lane.call, last, Duration::from_secs(10));
        }
        last = lane.call.load(Acquire);
        let wanted = board.places.load(Relaxed);
        if places != Some(wanted) {
            settle_down(wanted, index)?;
            places = Some(wanted);
        }
        match board.kind.load(Relaxed) {
            Spsc::CODE => take_part(board, index, open(&mut spsc, board, overseer)?, survey)?,
            Mpmc::CODE => take_part(board, index, open(&mut mpmc, board, overseer)?, survey)?,
            SpscMessages::CODE => {
                take_part(board, index, open(&mut spsc_messages, board, overseer)?, survey)?;
            }
            _ => take_part(board, index, open(&mut mpmc_messages, board, overseer)?, survey)?,
        }
        board.done.fetch_add(1, AcqRel);
        wake(&board.done);
    }
}

fn open<'a, K: Acts>(
    opened: &'a mut Opened<K>,
    board: &Board,
    overseer: u32,
) -> Result<&'a Ring<K::Element, K>, String> {
    let wanted = board.ring.load(Relaxed);
    if opened.as_ref().is_none_or(|(ring, _)| *ring != wanted) {
        let fd = memory::open(&format!("/proc/{overseer}/fd/{}", board.descriptor.load(Relaxed)))?;
        let ring = Ring::options().from_fd(fd).map_err(|e| e.to_string())?;
        *opened = Some((wanted, ring));
    }
    opened.as_ref().map(|(_, ring)| ring).ok_or("no ring".into())
}

/// Goes where the history is to take place.
fn settle_down(places: u32, index: usize) -> Result<(), String> {
    let all = ALL.get().map_or(&[][..], Vec::as_slice);
    let wanted = match places {
        p if p == Places::Together as u32 => &all[..1],
        p if p == Places::Apart as u32 => std::slice::from_ref(&all[index % all.len()]),
        _ => all,
    };
    processors::bind(wanted).map_err(|e| format!("affinity: {e}"))
}

/// Processors, asked before anybody is bound to one.
pub static ALL: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();

/// An end, until it is closed.
pub enum Handle<K: Acts> {
    /// That sends.
    Sender(K::Sender),
    /// That receives; and what it has given back itself.
    Receiver(K::Receiver, u8),
}

fn take_part<K: Acts>(
    board: &Board,
    index: usize,
    ring: &Ring<K::Element, K>,
    survey: &Survey,
) -> Result<(), String> {
    let lane = &board.lanes[index];
    let policy = match lane.policy.load(Relaxed) {
        1 => WaitPolicy::Spin,
        2 => WaitPolicy::Park,
        _ => WaitPolicy::Adaptive,
    };
    let (end, handle) = if lane.receives.load(Relaxed) == 0 {
        let mut tx = K::sender(ring).map_err(|e| e.to_string())?;
        tx.set_liveness_interval(INTERVAL);
        tx.set_wait_policy(policy);
        (End::Sender, Handle::<K>::Sender(tx))
    } else {
        let mut rx = K::receiver(ring).map_err(|e| e.to_string())?;
        rx.set_liveness_interval(INTERVAL);
        rx.set_wait_policy(policy);
        (End::Receiver, Handle::<K>::Receiver(rx, 0))
    };
    board.ready.fetch_add(1, AcqRel);
    let mut turns = 0_u32;
    while board.ready.load(Acquire) < board.workers.load(Relaxed) {
        turns += 1;
        if turns.is_multiple_of(64) { std::thread::yield_now() } else { std::hint::spin_loop() }
    }
    perform(board, lane, index, end, handle, survey)
}

fn perform<K: Acts>(
    board: &Board,
    lane: &Lane,
    index: usize,
    end: End,
    handle: Handle<K>,
    survey: &Survey,
) -> Result<(), String> {
    let history = board.history.load(Relaxed);
    let ambush = Ambush::decode(lane.ambush.load(Relaxed));
    let mut handle = Some(handle);
    for call in 0..lane.calls.load(Relaxed) as usize {
        let step = Step::decode(lane.steps[call].load(Relaxed));
        let what = step.what(end, history, index, call);
        for _ in 0..step.pause {
            std::hint::spin_loop();
        }
        let (here, stamps) = match ambush {
            Some(ambush) if usize::from(ambush.call) == call => {
                let pick = |number: u16| survey.pick(K::CODE, end, step.form, number.into());
                (Some(ambush.at.map(pick)), ambush.stamps)
            }
            _ => (None, 0),
        };
        lane.log[call].invoke(board.draw());
        if let Some(at) = here {
            ambush::lay(at, stamps);
        }
        let answer = self::call(&mut handle, step, &what);
        if here.is_some() {
            lane.stalled.fetch_add(ambush::lift(), Relaxed);
        }
        let answer = answer.map_err(|wrong| format!("{what:?} {step:?}: {wrong}"))?;
        lane.log[call].conclude(board.draw(), &answer);
    }
    Ok(())
}

/// Calls as `step` says. The last call is the close.
#[inline(never)]
pub fn call<K: Acts>(
    handle: &mut Option<Handle<K>>,
    step: Step,
    what: &What,
) -> Result<Answer, String> {
    match (handle, what) {
        (Some(Handle::Sender(tx)), What::Send { values, .. }) => K::send(tx, step, values),
        (Some(Handle::Receiver(rx, kept)), _) if step.form != Form::Close => {
            K::receive(rx, step, kept)
        }
        (handle, _) => {
            drop(handle.take());
            Ok(Answer::Gone)
        }
    }
}

fn wait(step: Step) -> Duration {
    Duration::from_micros(step.wait.into())
}

fn send<K: Kind>(
    tx: &mut SendHandle<u64, K>,
    step: Step,
    values: &[u64],
) -> Result<Answer, String> {
    let sent = |count: usize| Answer::Sent(count as u8);
    match step.form {
        Form::Try => match tx.try_send(values[0]) {
            Ok(()) => Ok(sent(1)),
            Err(TrySendError::Full(_)) => Ok(Answer::NotReady),
            Err(TrySendError::Closed(_)) => Ok(Answer::Closed),
            Err(wrong) => Err(wrong.to_string()),
        },
        Form::Wait => match tx.send_timeout(values[0], wait(step)) {
            Ok(()) => Ok(sent(1)),
            Err(SendTimeoutError::Timeout(_)) => Ok(Answer::NotReady),
            Err(SendTimeoutError::Closed(_)) => Ok(Answer::Closed),
            Err(wrong) => Err(wrong.to_string()),
        },
        Form::TrySlice => tx.try_send_slice(values).map(sent).or_else(bulk),
        Form::WaitSlice => tx.send_slice_deadline(values, wait(step)).map(sent).or_else(bulk),
        Form::TryExact => tx.try_send_exact(values).map(|()| sent(values.len())).or_else(bulk),
        Form::TryRun | Form::WaitRun | Form::Close => {
            let run = match step.form {
                Form::TryRun => tx.try_claim(values.len()),
                _ => tx.claim_deadline(values.len(), wait(step)),
            };
            let mut run = match run {
                Ok(run) => run,
                Err(why) => return bulk(why),
            };
            let len = run.len();
            let commit = len.min(step.part.into());
            for (k, &value) in values[..commit].iter().enumerate() {
                run.write(k, value);
            }
            run.commit(commit);
            Ok(sent(len))
        }
    }
}

fn receive<K: Kind>(rx: &mut RecvHandle<u64, K>, step: Step) -> Result<Answer, String> {
    // On the stack: an ambush should meet the ring's instructions, not the allocator's.
    let mut into = [0; SLOTS];
    let into = &mut into[..usize::from(step.size).min(SLOTS)];
    let count = match step.form {
        Form::Try => match rx.try_recv() {
            Ok(item) => return Ok(Answer::Received(vec![item], rx.redelivered() as u8)),
            Err(TryRecvError::Empty) => return Ok(Answer::NotReady),
            Err(TryRecvError::Closed) => return Ok(Answer::Closed),
            Err(wrong) => return Err(wrong.to_string()),
        },
        Form::Wait => match rx.recv_timeout(wait(step)) {
            Ok(item) => return Ok(Answer::Received(vec![item], rx.redelivered() as u8)),
            Err(RecvTimeoutError::Timeout) => return Ok(Answer::NotReady),
            Err(RecvTimeoutError::Closed) => return Ok(Answer::Closed),
            Err(wrong) => return Err(wrong.to_string()),
        },
        Form::TrySlice => rx.try_recv_slice(into),
        Form::WaitSlice => rx.recv_slice_deadline(into, wait(step)),
        Form::TryExact => rx.try_recv_exact(into).map(|()| step.size.into()),
        Form::TryRun | Form::WaitRun | Form::Close => {
            let run = match step.form {
                Form::TryRun => rx.try_claim(step.size.into()),
                _ => rx.claim_deadline(step.size.into(), wait(step)),
            };
            let run = match run {
                Ok(run) => run,
                Err(why) => return bulk(why),
            };
            let items: Vec<_> = run.iter().collect();
            let again = run.redelivered() as u8;
            let release = run.len().min(step.part.into());
            run.release(release);
            return Ok(Answer::Received(items, again));
        }
    };
    match count {
        Ok(count) => Ok(Answer::Received(into[..count].to_vec(), rx.redelivered() as u8)),
        Err(why) => bulk(why),
    }
}

fn bulk(why: BulkError) -> Result<Answer, String> {
    match why {
        BulkError::Full | BulkError::Empty | BulkError::Timeout => Ok(Answer::NotReady),
        BulkError::Closed => Ok(Answer::Closed),
        BulkError::Held { held } => Ok(Answer::Held(held as u8)),
        BulkError::Fragmented { adjacent } => Ok(Answer::Fragmented(adjacent as u8)),
        wrong => Err(wrong.to_string()),
    }
}

fn send_message<K: Messages>(
    tx: &mut messages::Sender<K>,
    step: Step,
    value: u64,
) -> Result<Answer, String> {
    let message = message_of(&value);
    let sent = match step.form {
        Form::Try => tx.try_send(&message),
        Form::Wait => tx.send_deadline(&message, wait(step)),
        _ => {
            let reserved = match step.form {
                Form::TryRun => tx.try_reserve(message.len()),
                _ => tx.reserve_deadline(message.len(), wait(step)),
            };
            reserved.map(|mut reserved| match step.part {
                0 => reserved.abandon(),
                _ => {
                    let written = io::Write::write_all(&mut reserved.writer(), &message);
                    written.expect("room for a message that was reserved for it");
                    reserved.commit();
                }
            })
        }
    };
    sent.map(|()| Answer::Sent(1)).or_else(message_refused)
}

fn receive_messages<K: Messages>(
    rx: &mut messages::Receiver<K>,
    step: Step,
    kept: &mut u8,
) -> Result<Answer, String> {
    let mut into = [0; u64::RECORD];
    let value = |bytes: &[u8]| u64::of_bytes(bytes).unwrap_or(u64::MAX);
    let received = match step.form {
        Form::Try => rx.try_recv_into(&mut into),
        Form::Wait => rx.recv_into_deadline(&mut into, wait(step)),
        _ => {
            let claimed = match step.form {
                Form::TryRun => rx.try_claim(step.size.into()),
                _ => rx.claim_deadline(step.size.into(), wait(step)),
            };
            let run = match claimed {
                Ok(run) => run,
                Err(why) => return message_refused(why),
            };
            let items: Vec<_> = run.iter().map(|message| value(&message.to_vec())).collect();
            let again = run.redelivered() as u8;
            let release = run.len().min(step.part.into());
            run.release(release);
            *kept = (*kept).max(items.len() as u8) - release as u8;
            return Ok(Answer::Received(items, again));
        }
    };
    match received {
        Ok(len) => {
            // Of a single message nobody tells that this end itself has given it back.
            let again = u8::from(*kept > 0 || rx.redeliveries() > 0);
            *kept = kept.saturating_sub(1);
            Ok(Answer::Received(vec![value(&into[..len])], again))
        }
        Err(why) => message_refused(why),
    }
}

fn message_refused(why: MessageError) -> Result<Answer, String> {
    match why {
        MessageError::Full | MessageError::Empty | MessageError::Timeout => Ok(Answer::NotReady),
        MessageError::Closed => Ok(Answer::Closed),
        wrong => Err(wrong.to_string()),
    }
}
