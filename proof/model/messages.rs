//! A ring of messages, beside a queue of them.
//!
//! One sender, one receiver, of both kinds of ring: which granule a message gets, what a claim that
//! was given up costs, and what comes again, is known before each call. Whoever includes this file
//! chooses the calls, as those of [`play`](super::play).

use std::collections::VecDeque;
use std::io::Write;

use ringpipe::messages::{self, Message, Messages};
use ringpipe::{MessageError, MpmcMessages, Options, SpscMessages};

pub const PAGE: usize = 4096;

#[derive(Clone, Copy, Debug)]
pub enum Call {
    Send(usize),
    /// Reserves room for so many and uses this share of it, in 256ths.
    Reserve(usize, u8),
    Abandon(usize),
    ForgetRoom(usize),
    SendAll(usize, usize),
    Recv,
    RecvInto(usize),
    /// Claims so many messages, and releases so many of them.
    Release(usize, usize),
    AbandonRun(usize),
    Clear,
    CloseSender,
    CloseReceiver,
    AttachSender,
    AttachReceiver,
}

/// What takes granules.
enum What {
    Message(Vec<u8>),
    /// Claimed and given up: so many.
    Hole(usize),
}

/// What the documentation says.
struct Model {
    granule: usize,
    capacity: usize,
    /// From the oldest that is not released to the newest.
    queue: VecDeque<What>,
    next: u8,
    sender_met: bool,
    receiver_met: bool,
}

impl Model {
    fn granules(&self, len: usize) -> usize {
        (len + 8).div_ceil(self.granule)
    }

    fn taken(&self, holes: bool) -> usize {
        let granules = self.queue.iter().map(|what| match what {
            What::Message(message) => self.granules(message.len()),
            What::Hole(granules) => {
                if holes {
                    *granules
                } else {
                    0
                }
            }
        });
        granules.sum()
    }

    fn max_len(&self) -> usize {
        self.capacity / 2 * self.granule - 8
    }

    fn fresh(&mut self, len: usize) -> Vec<u8> {
        self.next = self.next.wrapping_add(1);
        (0..len).map(|at| self.next.wrapping_add(at as u8)).collect()
    }

    fn messages(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.queue.iter().filter_map(|what| match what {
            What::Message(message) => Some(message),
            What::Hole(_) => None,
        })
    }

    /// Releases the first message, and what was given up before it.
    fn pop(&mut self) {
        while let Some(What::Hole(_)) = self.queue.pop_front() {}
    }

    /// There is, or may be, room for a message of so many bytes. (When a receiver frees what was
    /// given up, nobody says.)
    fn must_fit(&self, len: usize) -> bool {
        self.granules(len) <= self.capacity.saturating_sub(self.taken(true))
    }

    fn may_fit(&self, len: usize) -> bool {
        self.granules(len) <= self.capacity - self.taken(false)
    }

    /// Checks what came of a claim of room.
    fn check(&self, len: usize, outcome: Result<(), MessageError>, receiver: bool) -> bool {
        match outcome {
            Ok(()) => assert!(self.may_fit(len) && len <= self.max_len(), "no room for {len}"),
            Err(MessageError::TooLarge { len: said, most }) => {
                assert_eq!((said, most), (len, self.max_len()));
                assert!(len > most);
            }
            Err(MessageError::Closed) => assert!(self.sender_met && !receiver),
            Err(why) => {
                assert_eq!(why, MessageError::Full);
                assert!(!self.must_fit(len), "there is room for {len}");
            }
        }
        outcome.is_ok()
    }

    /// Checks why there is no message.
    fn nothing(&self, why: MessageError, sender: bool) {
        assert_eq!(self.messages().count(), 0, "{why}");
        let gone = self.receiver_met && !sender;
        assert_eq!(why, if gone { MessageError::Closed } else { MessageError::Empty });
    }
}

struct Stage<K: Messages> {
    ring: messages::Ring<K>,
    tx: Option<messages::Sender<K>>,
    rx: Option<messages::Receiver<K>>,
    model: Model,
    /// So many messages the receiver has claimed and not released: they come first.
    held: usize,
}

impl<K: Messages> Stage<K> {
    fn send(&mut self, call: Call) {
        let (Some(tx), model, receiver) = (&mut self.tx, &mut self.model, self.rx.is_some()) else {
            return;
        };
        match call {
            Call::Send(len) => {
                let message = model.fresh(len);
                if model.check(len, tx.try_send(&message), receiver) {
                    model.queue.push_back(What::Message(message));
                }
            }
            Call::Reserve(most, _) | Call::Abandon(most) | Call::ForgetRoom(most) => {
                let reserved = tx.try_reserve(most);
                let outcome = reserved.as_ref().map(drop).map_err(|why| *why);
                model.check(most, outcome, receiver);
                let Ok(mut reserved) = reserved else { return };
                let all = model.granules(most);
                let used = match call {
                    Call::Reserve(_, share) => {
                        let message = model.fresh(most * usize::from(share) / 256);
                        reserved.writer().write_all(&message).expect("it fits");
                        reserved.commit();
                        let used = model.granules(message.len());
                        model.queue.push_back(What::Message(message));
                        used
                    }
                    Call::Abandon(_) => {
                        reserved.abandon();
                        0
                    }
                    _ => {
                        std::mem::forget(reserved);
                        0
                    }
                };
                // On an SPSC ring, what was not used was never claimed.
                if K::MANY && all > used {
                    model.queue.push_back(What::Hole(all - used));
                }
            }
            Call::SendAll(len, count) => {
                let all: Vec<_> = (0..count).map(|_| model.fresh(len)).collect();
                let outcome = tx.send_all_deadline(&all, std::time::Duration::ZERO);
                let sent = match &outcome {
                    Ok(()) => count,
                    Err(error) => error.sent,
                };
                for message in all.into_iter().take(sent) {
                    assert!(model.may_fit(len));
                    model.queue.push_back(What::Message(message));
                }
                if let Err(error) = outcome {
                    let why = match error.why {
                        MessageError::Timeout => MessageError::Full,
                        why => why,
                    };
                    model.check(len, Err(why), receiver);
                }
            }
            _ => {}
        }
    }

    fn receive(&mut self, call: Call) {
        let (Some(rx), model, sender) = (&mut self.rx, &mut self.model, self.tx.is_some()) else {
            return;
        };
        match call {
            Call::Recv => {
                let mut message = Vec::new();
                match rx.try_recv(&mut message) {
                    Ok(()) => {
                        assert_eq!(Some(&message), model.messages().next());
                        model.pop();
                        self.held = self.held.saturating_sub(1);
                    }
                    Err(why) => model.nothing(why, sender),
                }
            }
            Call::RecvInto(room) => {
                let mut into = vec![0; room];
                match rx.try_recv_into(&mut into) {
                    Ok(len) => {
                        assert_eq!(Some(&into[..len]), model.messages().next().map(Vec::as_slice));
                        model.pop();
                        self.held = self.held.saturating_sub(1);
                    }
                    Err(MessageError::TooSmall { len }) => {
                        assert_eq!(Some(len), model.messages().next().map(Vec::len));
                        assert!(len > room);
                        self.held = self.held.max(1);
                    }
                    Err(why) => model.nothing(why, sender),
                }
            }
            Call::Release(max, _) | Call::AbandonRun(max) => match rx.try_claim(max) {
                Ok(claimed) => {
                    let len = claimed.len();
                    assert!((1..=max).contains(&len));
                    let shown: Vec<_> = claimed.iter().map(|message| message.to_vec()).collect();
                    assert_eq!(shown, model.messages().take(len).cloned().collect::<Vec<_>>());
                    match call {
                        Call::Release(_, count) => {
                            let released = count.min(len);
                            claimed.release(released);
                            (0..released).for_each(|_| model.pop());
                            self.held = self.held.max(len) - released;
                        }
                        _ => {
                            claimed.abandon();
                            self.held = self.held.max(len);
                        }
                    }
                }
                Err(why) => model.nothing(why, sender),
            },
            Call::Clear => {
                assert_eq!(rx.clear(), Ok(model.messages().count() as u64));
                model.queue.retain(|what| matches!(what, What::Hole(_)));
                self.held = 0;
            }
            _ => {}
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::CloseSender => self.tx = None,
            // What one leaves on an MPMC ring comes to its successor some time, not first.
            Call::CloseReceiver if !K::MANY || self.held == 0 => {
                self.rx = None;
                self.held = 0;
            }
            Call::AttachSender if self.tx.is_none() => {
                self.tx = Some(self.ring.sender().unwrap());
                self.model.sender_met = self.rx.is_some();
                self.model.receiver_met |= self.rx.is_some();
            }
            Call::AttachReceiver if self.rx.is_none() => {
                let mut rx = self.ring.receiver().unwrap();
                // Whether somebody was told of the end before, the model of items has.
                rx.require_peer();
                self.rx = Some(rx);
                self.model.receiver_met = true;
                self.model.sender_met |= self.tx.is_some();
            }
            call => {
                self.send(call);
                self.receive(call);
            }
        }
    }
}

fn play<K: Messages>(options: Options<Message, K>, granule: usize, calls: Vec<Call>) {
    let ring = options.create_anonymous().unwrap();
    let model = Model {
        granule,
        capacity: ring.capacity() / granule,
        queue: VecDeque::new(),
        next: 0,
        sender_met: false,
        receiver_met: false,
    };
    let mut stage = Stage { ring, tx: None, rx: None, model, held: 0 };
    for call in [Call::AttachSender, Call::AttachReceiver].into_iter().chain(calls) {
        stage.call(call);
    }
}

/// Makes the calls on an SPSC ring of so many pages.
pub fn play_spsc(pages: usize, calls: Vec<Call>) {
    play::<SpscMessages>(messages::Ring::options().capacity(pages * PAGE), 8, calls);
}

/// Likewise on an MPMC ring, of granules of so many bytes.
pub fn play_mpmc(pages: usize, granule: usize, calls: Vec<Call>) {
    let options = messages::Ring::options().capacity(pages * PAGE).granule(granule);
    play::<MpmcMessages>(options, granule, calls);
}
