//! What a puppet can do with a ring of numbers.

use std::fmt::Debug;
use std::time::Duration;

use ringpipe::{Mpmc, Spsc, TryRecvError};

use super::super::child::Me;
use super::super::kinds::AnyKind;
use super::super::{Flavour, Rx, Tx};
use super::{Hands, Plays, show, told_to_release};

impl Plays for Spsc {
    fn obey(me: &mut Me, hands: &mut Hands<Self>, words: &[&str]) -> Option<String> {
        obey(me, hands, words)
    }
}

impl Plays for Mpmc {
    fn obey(me: &mut Me, hands: &mut Hands<Self>, words: &[&str]) -> Option<String> {
        obey(me, hands, words)
    }
}

fn obey<K>(me: &mut Me, hands: &mut Hands<K>, words: &[&str]) -> Option<String>
where
    K: Flavour + AnyKind<Tx = Tx<K>, Rx = Rx<K>>,
{
    let number = |i: usize| -> u64 { words[i].parse().unwrap() };
    let millis = |i: usize| Duration::from_millis(number(i));
    let answer = match words[0] {
        // Sending.
        "try_send" => returned(hands.tx().try_send(number(1)), |e| e.into_inner()),
        "send" => returned(hands.tx().send(number(1)), |e| e.into_inner()),
        "send_timeout" => {
            returned(hands.tx().send_timeout(number(1), millis(2)), |e| e.into_inner())
        }
        "try_send_slice" => show(hands.tx().try_send_slice(&span(number(1), number(2)))),
        "send_slice" => show(hands.tx().send_slice(&span(number(1), number(2)))),
        "send_exact" => {
            show(hands.tx().send_exact_deadline(&span(number(1), number(2)), millis(3)))
        }
        "send_each" => {
            let mut tx = hands.tx.take().expect("sender first");
            let sent = (number(1)..number(2)).try_for_each(|value| tx.send(value));
            hands.tx = Some(tx);
            show(sent)
        }
        "claim" => {
            let max = number(1) as usize;
            return write_in_place(me, hands.tx(), max);
        }
        // Receiving.
        "try_recv" => show(hands.rx().try_recv()),
        "recv" => show(hands.rx().recv()),
        "try_until_closed" => {
            let mut values = Vec::new();
            loop {
                match hands.rx().try_recv() {
                    Ok(value) => values.push(value),
                    Err(TryRecvError::Empty) => {}
                    Err(e) => break format!("{values:?} then {e:?}"),
                }
            }
        }
        "recv_timeout" => show(hands.rx().recv_timeout(millis(1))),
        "recv_exact" => {
            let mut values = vec![0; number(1) as usize];
            let received = hands.rx().recv_exact_deadline(&mut values, millis(2));
            show(received.map(|()| values))
        }
        "try_recv_slice" => {
            let mut values = vec![0; number(1) as usize];
            let received = hands.rx().try_recv_slice(&mut values);
            show(received.map(|len| values[..len].to_vec()))
        }
        "drain" => {
            let rx = hands.rx();
            let values: Vec<u64> = rx.iter().collect();
            format!("{values:?} then {}", show(rx.recv()))
        }
        "read" => {
            let max = number(1) as usize;
            return read_in_place(me, hands.rx(), max);
        }
        unknown => panic!("no such command: {unknown}"),
    };
    Some(answer)
}

/// `claim` was said; the run is held until `commit` or `abandon`.
fn write_in_place<K: Flavour>(me: &mut Me, tx: &mut Tx<K>, max: usize) -> Option<String> {
    let mut run = match tx.claim(max) {
        Ok(run) => run,
        Err(e) => return Some(show(Err::<(), _>(e))),
    };
    me.say(format_args!("Ok({})", run.len()));
    while let Some(command) = me.hear() {
        let words: Vec<&str> = command.split(' ').collect();
        let number = |i: usize| -> u64 { words[i].parse().unwrap() };
        match words[0] {
            "write" => run.write(number(1) as usize, number(2)),
            "commit" => {
                run.commit(number(1) as usize);
                return Some("Ok".into());
            }
            "abandon" => {
                run.abandon();
                return Some("Ok".into());
            }
            unknown => panic!("not while a run is held: {unknown}"),
        }
        me.say("Ok");
    }
    None
}

/// `read` was said; the run is held until `release` or `abandon`.
fn read_in_place<K: Flavour>(me: &mut Me, rx: &mut Rx<K>, max: usize) -> Option<String> {
    let run = match rx.claim(max) {
        Ok(run) => run,
        Err(e) => return Some(show(Err::<(), _>(e))),
    };
    me.say(format_args!("{:?}", run.iter().collect::<Vec<_>>()));
    match told_to_release(me)? {
        Some(count) => run.release(count),
        None => run.abandon(),
    }
    Some("Ok".into())
}

fn span(from: u64, to: u64) -> Vec<u64> {
    (from..to).collect()
}

fn returned<E: Debug>(result: Result<(), E>, value: impl Fn(E) -> u64) -> String {
    match result {
        Ok(()) => "Ok(())".into(),
        Err(e) => {
            let shown = format!("Err({e:?})");
            shown.replace("..", &value(e).to_string())
        }
    }
}
