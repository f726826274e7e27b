//! Histories that no ring may produce, each of which must be rejected, next to its honest twin,
//! which must be explained: a checker that accepts everything proves nothing.

use histories::history::{Answer, Call, End, History, Kind, Value, What};
use histories::search::explain;
use histories::spec::fifo::Fifo;
use histories::spec::mpmc::Mpmc;
use histories::spec::spsc::Spsc;

const S: End = End::Sender;
const R: End = End::Receiver;

/// `at`: when invoked and when returned.
fn send(process: u8, at: (u64, u64), value: Value, answer: Answer) -> Call {
    let what = What::Send { values: vec![value], need: 1, commit: 1 };
    Call { process, what, invoked: at.0, returned: Some((at.1, answer)) }
}

fn sent(process: u8, at: (u64, u64), value: Value) -> Call {
    send(process, at, value, Answer::Sent(1))
}

fn receive(process: u8, at: (u64, u64), answer: Answer) -> Call {
    let what = What::Receive { max: 1, need: 1, release: 1 };
    Call { process, what, invoked: at.0, returned: Some((at.1, answer)) }
}

fn received(process: u8, at: (u64, u64), value: Value) -> Call {
    receive(process, at, Answer::Received(vec![value], 0))
}

fn received_again(process: u8, at: (u64, u64), value: Value) -> Call {
    receive(process, at, Answer::Received(vec![value], 1))
}

fn closed(process: u8, at: (u64, u64)) -> Call {
    Call { process, what: What::Close, invoked: at.0, returned: Some((at.1, Answer::Gone)) }
}

fn died(process: u8, between: (u64, u64)) -> Call {
    let returned = Some((between.1, Answer::Gone));
    Call { process, what: What::Death, invoked: between.0, returned }
}

/// The call in which a process died.
fn unfinished(call: Call) -> Call {
    Call { returned: None, ..call }
}

fn mpmc(capacity: u8, ends: &[End], calls: &[Call]) -> History {
    History { kind: Kind::Mpmc, capacity, ends: ends.to_vec(), calls: calls.to_vec() }
}

fn is_explained(history: &History) -> bool {
    explain(&Mpmc::new(history), history).is_ok()
}

/// The SPSC ring's and the textbook's specification must judge this history as the MPMC ring's
/// does.
fn is_explained_by_all(history: &History) -> bool {
    let answer = is_explained(history);
    let single = history.ends.iter().filter(|&&end| end == S).count() == 1
        && history.ends.iter().filter(|&&end| end == R).count() == 1;
    if single {
        assert_eq!(explain(&Spsc::new(history), history).is_ok(), answer, "{history}");
    }
    assert_eq!(explain(&Fifo::strict(history), history).is_ok(), answer, "{history}");
    answer
}

#[test]
fn a_value_that_is_lost_is_noticed() {
    let calls = |last| [sent(0, (1, 2), 7), sent(0, (3, 4), 8), last];
    assert!(is_explained_by_all(&mpmc(4, &[S, R], &calls(received(1, (5, 6), 7)))));
    assert!(!is_explained_by_all(&mpmc(4, &[S, R], &calls(received(1, (5, 6), 8)))));
}

#[test]
fn a_value_that_is_delivered_twice_is_noticed() {
    let twice = [sent(0, (1, 2), 7), received(1, (3, 4), 7), received(2, (5, 6), 7)];
    assert!(is_explained_by_all(&mpmc(4, &[S, R, R], &twice[..2])));
    assert!(!is_explained_by_all(&mpmc(4, &[S, R, R], &twice)));
    let marked = [sent(0, (1, 2), 7), received(1, (3, 4), 7), received_again(2, (5, 6), 7)];
    assert!(!is_explained(&mpmc(4, &[S, R, R], &marked)), "a mark is no excuse without a death");
}

#[test]
fn a_value_that_nobody_sent_is_noticed() {
    assert!(!is_explained_by_all(&mpmc(4, &[S, R], &[received(1, (1, 2), 7)])));
}

#[test]
fn a_value_that_is_received_before_it_is_sent_is_noticed() {
    let calls = |sending| [received(1, (1, 3), 7), sent(0, sending, 7)];
    assert!(is_explained_by_all(&mpmc(4, &[S, R], &calls((2, 4)))), "while it is being sent");
    assert!(!is_explained_by_all(&mpmc(4, &[S, R], &calls((4, 5)))));
}

#[test]
fn two_values_of_one_sender_in_the_wrong_order_are_noticed() {
    let calls = |first, second| {
        let (sends, first) = ([sent(0, (1, 2), 7), sent(0, (3, 4), 8)], received(1, (5, 6), first));
        [sends.to_vec(), vec![first, received(1, (7, 8), second)]].concat()
    };
    assert!(is_explained_by_all(&mpmc(4, &[S, R], &calls(7, 8))));
    assert!(!is_explained_by_all(&mpmc(4, &[S, R], &calls(8, 7))));
}

#[test]
fn values_of_two_senders_are_in_the_order_of_their_calls_if_these_did_not_overlap() {
    let calls = |second| {
        let sends = [sent(0, (1, 3), 7), sent(1, second, 8)];
        [sends.to_vec(), vec![received(2, (6, 7), 8), received(2, (8, 9), 7)]].concat()
    };
    assert!(is_explained_by_all(&mpmc(4, &[S, S, R], &calls((2, 4)))), "they overlapped");
    assert!(!is_explained_by_all(&mpmc(4, &[S, S, R], &calls((4, 5)))));
}

#[test]
fn empty_while_an_item_is_surely_there_is_noticed() {
    let calls = |asking| [sent(0, (1, 3), 7), receive(1, asking, Answer::NotReady)];
    assert!(is_explained_by_all(&mpmc(4, &[S, R], &calls((2, 4)))), "while it is being sent");
    assert!(!is_explained_by_all(&mpmc(4, &[S, R], &calls((4, 5)))));
}

#[test]
fn empty_is_true_of_an_item_behind_one_that_is_being_sent_and_only_then() {
    // P1's value is sent and P0's send, which may have claimed the position before, is running.
    let calls = |end| {
        let sends = [sent(0, (1, end), 7), sent(1, (2, 3), 8)];
        [sends.to_vec(), vec![receive(2, (4, 5), Answer::NotReady)]].concat()
    };
    let hole = mpmc(4, &[S, S, R], &calls(6));
    assert!(is_explained(&hole));
    assert!(explain(&Fifo::strict(&hole), &hole).is_err(), "the textbook knows no such thing");
    assert!(explain(&Fifo::loose(&hole), &hole).is_ok(), "but it is the negative answer alone");
    let mut overtaken = hole;
    overtaken.calls.push(received(2, (7, 8), 8));
    assert!(!is_explained(&overtaken), "then the value being sent comes first");
}

#[test]
fn full_is_true_of_a_ring_whose_receive_is_still_running_and_only_then() {
    let calls = |end| {
        let sends = [sent(0, (1, 2), 7), sent(0, (3, 4), 8)];
        let receives = [received(1, (5, end), 7), received(2, (6, 7), 8)];
        [sends.to_vec(), receives.to_vec(), vec![send(0, (8, 9), 9, Answer::NotReady)]].concat()
    };
    // P1 has taken the first slot and not freed it yet. That P2's is free helps nobody.
    assert!(is_explained(&mpmc(2, &[S, R, R], &calls(10))));
    assert!(!is_explained(&mpmc(2, &[S, R, R], &calls(7))));
    assert!(!is_explained(&mpmc(4, &[S, R, R], &calls(10))), "with more slots it is a lie");
}

#[test]
fn more_items_than_slots_are_noticed() {
    let calls = [sent(0, (1, 2), 7), sent(0, (3, 4), 8)];
    assert!(is_explained_by_all(&mpmc(2, &[S, R], &calls)));
    assert!(!is_explained_by_all(&mpmc(1, &[S, R], &calls)));
}

#[test]
fn end_of_file_before_the_ring_is_drained_is_noticed() {
    let calls = |first: Call| {
        [sent(0, (1, 2), 7), closed(0, (3, 4)), first, receive(1, (7, 8), Answer::Closed)]
    };
    assert!(is_explained_by_all(&mpmc(4, &[S, R], &calls(received(1, (5, 6), 7)))));
    let early = calls(receive(1, (5, 6), Answer::Closed));
    assert!(!is_explained_by_all(&mpmc(4, &[S, R], &early[..3])));
}

#[test]
fn end_of_file_while_a_sender_is_open_is_noticed() {
    let calls = [closed(0, (1, 2)), receive(2, (3, 4), Answer::Closed)];
    assert!(is_explained_by_all(&mpmc(4, &[S, R, R], &calls)));
    assert!(!is_explained_by_all(&mpmc(4, &[S, S, R], &calls)));
}

#[test]
fn empty_after_the_last_sender_has_left_is_noticed() {
    let calls = |answer| [closed(0, (1, 2)), receive(1, (3, 4), answer)];
    assert!(is_explained_by_all(&mpmc(4, &[S, R], &calls(Answer::Closed))));
    assert!(!is_explained_by_all(&mpmc(4, &[S, R], &calls(Answer::NotReady))));
}

#[test]
fn a_value_sent_into_a_broken_pipe_is_noticed() {
    let calls = |answer| [closed(1, (1, 2)), send(0, (3, 4), 7, answer)];
    assert!(is_explained_by_all(&mpmc(4, &[S, R], &calls(Answer::Closed))));
    assert!(!is_explained_by_all(&mpmc(4, &[S, R], &calls(Answer::Sent(1)))));
    assert!(!is_explained_by_all(&mpmc(4, &[S, R], &calls(Answer::NotReady))));
    let alive = [closed(1, (1, 2)), send(0, (3, 4), 7, Answer::Closed)];
    assert!(!is_explained_by_all(&mpmc(4, &[S, R, R], &alive)), "while a receiver is open");
}

#[test]
fn the_ends_of_a_close_can_be_told_apart_while_it_runs_and_not_after() {
    let calls = |end| {
        let told = send(0, (2, 3), 7, Answer::Closed);
        [closed(2, (1, end)), told, sent(1, (5, 6), 8)]
    };
    assert!(is_explained(&mpmc(4, &[S, S, R], &calls(7))));
    assert!(!is_explained(&mpmc(4, &[S, S, R], &calls(4))));
    let mut changed_its_mind = calls(7);
    changed_its_mind[2].process = 0;
    assert!(!is_explained(&mpmc(4, &[S, S, R], &changed_its_mind)));
}

#[test]
fn what_a_dead_sender_was_sending_may_be_absent_but_nothing_else() {
    let with = |last: &[Call]| {
        let calls = [sent(0, (1, 2), 7), unfinished(sent(0, (3, 0), 8)), died(0, (3, 5))];
        mpmc(4, &[S, R], &[&calls, last].concat())
    };
    let (first, second) = (received(1, (6, 7), 7), received(1, (8, 9), 8));
    let end = |at| receive(1, at, Answer::Closed);
    assert!(is_explained(&with(&[first.clone(), second, end((10, 11))])));
    assert!(is_explained(&with(&[first.clone(), end((8, 9))])));
    assert!(is_explained(&with(&[first, receive(1, (8, 9), Answer::NotReady)])), "not noticed");
    assert!(!is_explained(&with(&[end((6, 7))])), "the first was sent");
    assert!(!is_explained(&with(&[received(1, (6, 7), 8)])), "nor may the first be passed over");
}

#[test]
fn what_a_dead_sender_left_does_not_keep_back_what_others_sent() {
    let with = |last: Call| {
        let calls = [unfinished(sent(0, (1, 0), 7)), sent(1, (2, 3), 8), died(0, (1, 4)), last];
        mpmc(4, &[S, S, R], &calls)
    };
    assert!(is_explained(&with(received(2, (5, 6), 8))));
    assert!(is_explained(&with(receive(2, (5, 6), Answer::NotReady))), "not noticed yet");
    assert!(!is_explained(&with(receive(2, (5, 6), Answer::Closed))), "the other is there");
}

#[test]
fn what_a_dead_receiver_had_taken_comes_again_marked_or_was_received() {
    let with = |last: &[Call]| {
        let calls = [
            sent(0, (1, 2), 7),
            closed(0, (3, 4)),
            unfinished(received(1, (5, 0), 7)),
            died(1, (5, 6)),
        ];
        mpmc(4, &[S, R, R], &[&calls, last].concat())
    };
    let end = |at| receive(2, at, Answer::Closed);
    assert!(is_explained(&with(&[received_again(2, (7, 8), 7), end((9, 10))])), "again");
    assert!(is_explained(&with(&[received(2, (7, 8), 7), end((9, 10))])), "it was not taken yet");
    assert!(is_explained(&with(&[end((7, 8))])), "it was received");
    let twice = [received_again(2, (7, 8), 7), received_again(2, (9, 10), 7)];
    assert!(!is_explained(&with(&twice)), "released is released");
    assert!(!is_explained(&with(&[end((7, 8)), received(2, (9, 10), 7)])), "end-of-file is final");
}

#[test]
fn what_a_closed_receiver_had_kept_is_not_lost() {
    let with = |last: Call| {
        let keep = What::Receive { max: 1, need: 1, release: 0 };
        let kept = Call { what: keep, ..received(1, (5, 6), 7) };
        let calls = [sent(0, (1, 2), 7), closed(0, (3, 4)), kept, closed(1, (7, 8)), last];
        mpmc(4, &[S, R, R], &calls)
    };
    assert!(is_explained(&with(received_again(2, (9, 10), 7))));
    assert!(!is_explained(&with(received(2, (9, 10), 7))), "unmarked");
    assert!(!is_explained(&with(receive(2, (9, 10), Answer::Closed))), "lost");
}

#[test]
fn what_a_closed_receiver_had_kept_comes_one_item_at_a_time() {
    let in_place = |process, at, values: &[Value], again| {
        let what = What::Receive { max: 2, need: 1, release: 0 };
        let answer = Answer::Received(values.to_vec(), again);
        Call { what, ..receive(process, at, answer) }
    };
    let with = |last: Call| {
        let kept = in_place(1, (5, 6), &[7, 8], 0);
        let sends = [sent(0, (1, 2), 7), sent(0, (3, 4), 8)];
        mpmc(4, &[S, R, R], &[sends.to_vec(), vec![kept, closed(1, (7, 8)), last]].concat())
    };
    let explained = |last: Call| {
        let history = with(last);
        let spsc = History { kind: Kind::Spsc, ..history.clone() };
        let answer = is_explained(&history);
        assert_eq!(explain(&Spsc::new(&spsc), &spsc).is_ok(), answer);
        answer
    };
    assert!(explained(in_place(2, (9, 10), &[7], 1)));
    assert!(!explained(in_place(2, (9, 10), &[7, 8], 2)), "in one piece");
    let both = What::Receive { max: 2, need: 2, release: 2 };
    assert!(explained(Call { what: both, ..receive(2, (9, 10), Answer::Held(2)) }));
}

#[test]
fn a_slice_gets_what_fits_and_no_less() {
    let with = |count| {
        let what = What::Send { values: vec![7, 8, 9], need: 1, commit: 3 };
        let returned = Some((2, Answer::Sent(count)));
        mpmc(2, &[S, R], &[Call { process: 0, what, invoked: 1, returned }])
    };
    assert!(is_explained_by_all(&with(2)));
    assert!(!is_explained_by_all(&with(1)));
    assert!(!is_explained_by_all(&with(3)));
}

#[test]
fn what_a_sender_gave_up_is_passed_over_and_its_slot_can_be_used() {
    let with = |last: Call| {
        let what = What::Send { values: vec![7, 8], need: 1, commit: 1 };
        let run = Call { process: 0, what, invoked: 1, returned: Some((2, Answer::Sent(2))) };
        mpmc(2, &[S, R], &[run, received(1, (3, 4), 7), last])
    };
    assert!(is_explained(&with(sent(0, (5, 6), 9))), "the first slot is free");
    assert!(!is_explained(&with(received(1, (5, 6), 8))), "it was given up");
    assert!(!is_explained(&with(send(0, (5, 6), 9, Answer::NotReady))));
}
