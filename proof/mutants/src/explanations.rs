//! Why a mutant that no model notices is equivalent, or needed only outside loom's model.
//!
//! An explanation is checked as far as a program can: its sites must exist, its mutants must
//! survive, and if it says that another site does the same, then with that one weakened there must
//! be a model that passes, and fails when the mutant is weakened, too. Whether it is *true* is for
//! the reader: it must be precise, and name what would notice if that on which it relies went away.

/// One reason, for one mutant or for several.
#[derive(Debug)]
pub struct Explanation {
    /// Site, as the list names it, and what it is weakened to.
    pub mutants: &'static [(&'static str, &'static str)],
    /// What does the same at present, and what to weaken it to. With that alone some model passes
    /// that notices each of the mutants. Empty: it is not a site that does the same.
    pub relies_on: &'static [(&'static str, &'static str)],
    pub reason: &'static str,
}

pub const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        mutants: &[
            ("K1 wait/word.rs WakeWord::cancel store", "Relaxed"),
            ("K1 handles/cancel.rs Canceller::reset store", "Relaxed"),
            ("K2 handles/cancel.rs Canceller::is_cancelled load", "Relaxed"),
            ("K2 wait/pace.rs Waiting::is_cancelled load", "Relaxed"),
        ],
        relies_on: &[],
        reason: "Not in the models: the flag is one process's own, and the ring promises nothing by it. \
            That a cancelled sleeper ends its sleep is W4's and W1's doing: the flag is stored before the \
            epoch moves, and read after the announcement (`giving_up::…_wakes_to_find_itself_cancelled`). These orderings are a \
            promise to the caller: what it did before `cancel` is seen by whoever finds itself \
            cancelled. No test weakens them.",
    },
    Explanation {
        mutants: &[
            ("F2 peers/fork.rs hold_off load", "Relaxed"),
            ("F1 peers/fork.rs hold_off store", "Relaxed"),
            ("F4 peers/fork.rs Page::close compare_exchange", "Relaxed"),
            ("F3 peers/fork.rs Page::open store", "Relaxed"),
        ],
        relies_on: &[],
        reason: "Not in the models: the gate holds off libc's `fork`, which they do not have. What it \
            guards beyond its own words is the kernel's (descriptors and mappings that a child would \
            inherit), and the kernel's own locks of those order the thread that opens and closes them with \
            the one that forks. `tests/fork_gate.rs` runs the gate for real, on orderings as they are.",
    },
    Explanation {
        mutants: &[
            ("X2 peers/reap.rs succeed load", "Relaxed"),
            ("X2 peers/reap.rs reap load", "Relaxed"),
        ],
        relies_on: &[],
        reason: "The intent is that of one who stores no more, and all it stored was acquired before this \
            load: with the proof of its death (the kernel takes the lock of the file's list of locks to \
            answer, as the list is never empty: who asks holds a lock of the file itself, the birth byte; \
            the models' locks acquire, too), or with the abandoned claim's word (A3 ← A2, which \
            `table::who_sees_an_abandoned_claim_sees_what_was_stored_before_it_was_one` defends). An older value \
            than the last is then not to be had, acquire or not.",
    },
    Explanation {
        mutants: &[("A1 peers/table.rs take load", "Relaxed")],
        relies_on: &[("A1 peers/table.rs take compare_exchange", "Release")],
        reason: "The compare-and-swap that follows reads the same word, and acquires.",
    },
    Explanation {
        mutants: &[("A1 peers/table.rs take compare_exchange", "Release")],
        relies_on: &[("A1 peers/table.rs take load", "Relaxed")],
        reason: "The load before it has read, and acquired, the word that this one succeeds on.",
    },
    Explanation {
        mutants: &[("X3 ring/recovery.rs settle_sender compare_exchange", "Release")],
        relies_on: &[],
        reason: "The recoverer touches nothing in the slot, so it has no use for what the last release of \
            the slot handed on (R3); and whoever acquires SKIPPED acquires that as well, because a \
            read-modify-write goes on with the release sequence of the store that it read. That the \
            release half is there is what `recovery::a_dead_senders_slot_is_written_again_after_…` \
            defends.",
    },
    Explanation {
        mutants: &[("W1 wait/word.rs WakeWord::announce fetch_or", "Relaxed")],
        relies_on: &[("B1 wait/barrier.rs heavy everywhere", "nothing")],
        reason: "The sleeper's barrier follows at once (or followed when it found the word the same before), \
            and acquires what relaxed accesses before it have read. W1 does not lean on that: to end a sleep for a change of the endpoint table takes no barrier, \
            and without B1 the acquire is what does it.",
    },
    Explanation {
        mutants: &[("B2 wait/barrier.rs light compiler_fence", "nothing")],
        relies_on: &[],
        reason: "It binds the compiler, and loom's executions follow the program's order. The barrier that \
            the processor executes is B1's. On real processors `wait::tests::litmus` plays the two sides \
            against each other.",
    },
    Explanation {
        mutants: &[("R1 ring/recovery.rs unreleased load", "Relaxed")],
        relies_on: &[("X1 ring/recovery.rs settle_receiver load", "Relaxed")],
        reason: "The dead receiver had acquired the value before it moved the head (R1, then R2), and the \
            recoverer has acquired that head (X1).",
    },
    Explanation {
        mutants: &[
            ("M2 shm/state.rs found load", "Relaxed"),
            ("M1 shm/state.rs mark store", "Relaxed"),
            ("M1 shm/state.rs mark store 2", "Relaxed"),
            ("M1 shm/state.rs mark store 3", "Relaxed"),
            ("M1 shm/state.rs Leaver::mark_clean store", "Relaxed"),
        ],
        relies_on: &[],
        reason: "Not in the models: no two processes are at the state line at once. Who reads it holds the \
            STATE byte, or the file has no name yet; who wrote it before let go of that byte, or of BIRTH, \
            or died, and the kernel's lock of the file's locks orders the two. What the orderings are for is \
            one who is killed between two of its stores: the compiler must not have exchanged them. \
            `killpoints --on-disk` kills it there.",
    },
    Explanation {
        mutants: &[
            ("L1 wait/helper.rs helpers load", "Relaxed"),
            ("L2 wait/helper.rs helpers compare_exchange", "Relaxed"),
        ],
        relies_on: &[],
        reason: "Not in the models, which have one helper and no list of them. It is the publication of a \
            pointer to what was made before, once for each process image.",
    },
    Explanation {
        mutants: &[
            ("K3 wait/tasks.rs cancelled fetch_add", "Relaxed"),
            ("K4 wait/tasks.rs cancellations load", "Relaxed"),
        ],
        relies_on: &[],
        reason: "Not in the models: the count is the process's, and not of their atomics. A task that \
            begins to wait with the count as it is after a cancellation has seen the flag that was set \
            before, or else the helper would not wake it for that.",
    },
    Explanation {
        mutants: &[("S6 ring/mpmc.rs Sender::ready load", "Relaxed")],
        relies_on: &[],
        reason: "A sender that uses the slot after the helper's barrier sees the helper's announcement, and \
            passes the wake on; one that used it before is seen by that barrier. So no execution of the \
            models (`tasks::a_task_and_a_sender_that_sleeps_…`) leaves a task beside room. It is as on the \
            other side (R6), where a model notices.",
    },
];
