//! What is changed in loom 0.7.2, and why.
//!
//! **The mend.** Loom explores by dynamic partial-order reduction: before a thread takes its next
//! step, it looks for an earlier step of another thread that depends on this one and is not ordered
//! before it, and notes to try the other order as well. But each atomic of loom's remembers only its
//! last access and its last access that was not a load. So a thread's own load hides the load that
//! another thread made just before: with `load; compare_exchange` in one thread and `load` in
//! another, the compare-and-swap is never tried before the other's load (tokio-rs/loom#166, #392).
//! Mended: the last load and the last non-load of *each thread* are remembered, and all of them are
//! considered.
//!
//! **The futex.** `futex_wait` and `futex_wake` on loom's integers: the check and the queueing are
//! one step, as in the kernel; sleepers that nobody wakes are loom's deadlock; and a wake orders
//! nothing in memory, because futex(2) does not promise that it does. Loom's own condition
//! variables and `unpark` hand the waker's view of memory to the woken, which would hide a missing
//! ordering. After `next_wait_expires`, a sleep ends by itself, before a wake or having consumed one.
//! `futex_wait_any` queues at one after the other, and may use up a wake at each, as `futex_waitv`.
//!
//! **The membarrier.** `membarrier` on loom's integers: every other thread executes an
//! acquire-release fence where it is at this moment, and the caller exchanges views with each of
//! them; the caller itself executes a sequentially consistent one. That is what an interrupt with a
//! barrier in it does to a thread, and less than what sequentially consistent fences in the same
//! places would do (which would order the other threads among themselves). For the exploration it
//! does not commute with accesses to the atomic it is called on. A thread that has said
//! `reached(false)` is left out; who must know by which kind of thread it is called is told with
//! `after_switches` whenever another goes on.
//!
//! **The choice.** `choose` explores both answers: to give up or to sleep on, for instance.
//!
//! **The steps.** Whoever asked with `before_steps` is told before every access to an atomic or a
//! cell: the point at which an end can be killed.

/// Where the new text goes, relative to the anchor.
pub enum Place {
    Before,
    After,
    Instead,
}

/// One change: `find` must occur exactly once in `file` (relative to loom's `src`).
pub struct Patch {
    /// What it is for; what is for the mend begins with `mend`.
    pub what: &'static str,
    pub file: &'static str,
    pub find: &'static str,
    pub place: Place,
    pub text: &'static str,
}

impl Patch {
    pub fn is_mend(&self) -> bool {
        self.what.starts_with("mend")
    }
}

pub const PATCHES: &[Patch] = &[
    Patch {
        what: "mend: room for accesses by thread",
        file: "rt/atomic.rs",
        find: "    last_non_load_access: Option<Access>,\n",
        place: Place::After,
        text: r"
    /// The last load and the last other access of each thread.
    by_thread: [[Option<Access>; 2]; MAX_THREADS],
",
    },
    Patch {
        what: "mend: no accesses yet",
        file: "rt/atomic.rs",
        find: "            last_non_load_access: None,\n",
        place: Place::After,
        text: r"            by_thread: Default::default(),
",
    },
    Patch {
        what: "mend: record and enumerate accesses",
        file: "rt/atomic.rs",
        find: "    /// Returns the last dependent access\n",
        place: Place::Before,
        text: r"    /// The last accesses of all threads that do not commute with `action`.
    pub(super) fn dependent_accesses(&self, action: Action) -> impl Iterator<Item = &Access> {
        let with_loads = !matches!(action, Action::Load);
        self.by_thread.iter().flat_map(move |[load, other]| {
            other.iter().chain(load.iter().filter(move |_| with_loads))
        })
    }

    pub(super) fn record_access(
        &mut self,
        action: Action,
        thread: usize,
        path_id: usize,
        version: &VersionVec,
    ) {
        let other = !matches!(action, Action::Load);
        Access::set_or_create(&mut self.by_thread[thread][other as usize], path_id, version);
    }

",
    },
    Patch {
        what: "mend: the same for any object",
        file: "rt/object.rs",
        find: "    pub(super) fn set_last_access(\n        &mut self,\n        operation: Operation,\n",
        place: Place::Before,
        text: r"    /// Calls `f` with each access that may have to be tried in the other order with `operation`.
    pub(super) fn each_dependent_access(&self, operation: Operation, f: impl FnMut(&Access)) {
        match &self.entries[operation.obj.index] {
            Entry::Atomic(entry) => {
                entry.dependent_accesses(operation.action.into()).for_each(f)
            }
            _ => self.last_dependent_access(operation).into_iter().for_each(f),
        }
    }

    pub(super) fn record_access(
        &mut self,
        operation: Operation,
        thread: usize,
        path_id: usize,
        dpor_vv: &VersionVec,
    ) {
        if let Entry::Atomic(entry) = &mut self.entries[operation.obj.index] {
            entry.record_access(operation.action.into(), thread, path_id, dpor_vv);
        }
    }

",
    },
    Patch {
        what: "mend: backtrack to all of them",
        file: "rt/execution.rs",
        find: r"            if let Some(access) = self.objects.last_dependent_access(operation) {
                if access.happens_before(&th.dpor_vv) {
                    // The previous access happened before this access, thus
                    // there is no race.
                    continue;
                }

                // Get the point to backtrack to
                let point = access.path_id();

                // Track backtracking point
                self.path.backtrack(point, th_id);
            }
",
        place: Place::Instead,
        text: r"            let path = &mut self.path;
            self.objects.each_dependent_access(operation, |access| {
                if !access.happens_before(&th.dpor_vv) {
                    path.backtrack(access.path_id(), th_id);
                }
            });
",
    },
    Patch {
        what: "mend: order after all of them",
        file: "rt/execution.rs",
        find: r"            if let Some(access) = self.objects.last_dependent_access(operation) {
                threads.active_mut().dpor_vv.join(access.version());
            }
",
        place: Place::Instead,
        text: r"            self.objects.each_dependent_access(operation, |access| {
                threads.active_mut().dpor_vv.join(access.version());
            });
",
    },
    Patch {
        what: "mend: record the access",
        file: "rt/execution.rs",
        find: "            self.objects\n                .set_last_access(operation, path_id, &threads.active().dpor_vv);\n",
        place: Place::After,
        text: r"            self.objects.record_access(
                operation,
                th_id.as_usize(),
                path_id,
                &threads.active().dpor_vv,
            );
",
    },
    Patch {
        what: "futex: room for sleepers",
        file: "rt/atomic.rs",
        find: "    last_access: Option<Access>,\n",
        place: Place::After,
        text: r"
    /// Who sleeps here, longest first, and which wakes are for them.
    sleepers: Vec<(thread::Id, u32)>,
",
    },
    Patch {
        what: "futex: no sleepers yet",
        file: "rt/atomic.rs",
        find: "            last_access: None,\n",
        place: Place::After,
        text: r"            sleepers: Vec::new(),
",
    },
    Patch {
        what: "futex: on the runtime's atomic",
        file: "rt/atomic.rs",
        find: "    fn branch(&self, action: Action, location: Location) {\n",
        place: Place::Before,
        text: r"    /// Sleeps until woken if the newest value is `expected`, and tells whether it did. Orders nothing.
    pub(crate) fn futex_wait(&self, location: Location, expected: T, whom: u32) -> bool
    where
        T: PartialEq,
    {
        let expires = rt::take_expires();
        // As any other change of the atomic: does not commute with changes, nor with wakes.
        self.branch(Action::Rmw, location);

        let asleep = rt::execution(|execution| {
            let state = self.state.get_mut(&mut execution.objects);
            let newest = T::from_u64(state.stores[index(state.cnt - 1)].value);
            let asleep = newest == expected;
            if asleep {
                state.sleepers.push((execution.threads.active_id(), whom));
            }
            asleep
        });
        if asleep && expires {
            // Queued, but not blocked: goes on by itself, and by this step, unless a wake that it
            // consumes comes first, is queued no more.
            self.branch(Action::Rmw, location);
            rt::execution(|execution| {
                let me = execution.threads.active_id();
                let state = self.state.get_mut(&mut execution.objects);
                state.sleepers.retain(|(sleeper, _)| *sleeper != me);
            });
        } else if asleep {
            rt::park(location);
        }
        asleep
    }

    /// Sleeps at all of these until woken at one if the newest value of each is as expected. Which
    /// one had a wake for it, the first of several; `None`: one had another value. One step for each:
    /// a wake of the first may come before the last is asked. Orders nothing.
    pub(crate) fn futex_wait_any(location: Location, words: &[(&Self, T)]) -> Option<usize>
    where
        T: PartialEq,
    {
        let me = rt::execution(|execution| execution.threads.active_id());
        let mut queued = 0;
        for &(word, expected) in words {
            word.branch(Action::Rmw, location);
            let asleep = rt::execution(|execution| {
                let state = word.state.get_mut(&mut execution.objects);
                let newest = T::from_u64(state.stores[index(state.cnt - 1)].value);
                if newest == expected {
                    state.sleepers.push((me, u32::MAX));
                }
                newest == expected
            });
            if !asleep {
                break;
            }
            queued += 1;
        }
        let is_queued = |word: &Self, execution: &mut rt::Execution| {
            let state = word.state.get_mut(&mut execution.objects);
            state.sleepers.iter().any(|(sleeper, _)| *sleeper == me)
        };
        let all = queued == words.len()
            && rt::execution(|execution| words.iter().all(|(word, _)| is_queued(word, execution)));
        if all {
            rt::park(location);
        }
        // Until it asks, a wake may still be spent on it.
        let mut woken = None;
        for (index, (word, _)) in words[..queued].iter().enumerate() {
            word.branch(Action::Rmw, location);
            rt::execution(|execution| {
                if !is_queued(word, execution) {
                    woken = woken.or(Some(index));
                }
                let state = word.state.get_mut(&mut execution.objects);
                state.sleepers.retain(|(sleeper, _)| *sleeper != me);
            });
        }
        woken
    }

    /// All threads fence.
    pub(crate) fn membarrier(&self, location: Location) {
        self.branch(Action::Rmw, location);

        rt::synchronize(|execution| {
            fence_seqcst(execution);
            let me = execution.threads.active_id();
            let others: Vec<_> = execution
                .threads
                .iter()
                .map(|(id, _)| id)
                .filter(|&id| id != me && rt::is_reached(id.as_usize()))
                .collect();
            let mine = execution.threads.active().causality;
            for other in others {
                execution.threads.set_active(Some(other));
                fence_acq(execution);
                let theirs = execution.threads.active_mut();
                let view = theirs.causality;
                theirs.causality.join(&mine);
                theirs.released = theirs.causality;
                execution.threads.set_active(Some(me));
                execution.threads.active_mut().causality.join(&view);
            }
            fence_seqcst(execution);
        });
    }

    /// Wakes up to `count` of the sleepers who share a bit with `whom`, any of them. Orders nothing.
    pub(crate) fn futex_wake(&self, location: Location, count: usize, whom: u32) {
        self.branch(Action::Rmw, location);

        rt::execution(|execution| {
            let state = self.state.get_mut(&mut execution.objects);
            for left in (1..=count).rev() {
                let mut meant = (0..state.sleepers.len()).filter(|&at| state.sleepers[at].1 & whom != 0);
                let Some(first) = meant.next() else { break };
                let others = 1 + meant.clone().count();
                // futex(2) promises no order: the one who has slept longest, or shortest.
                let last = left < others && execution.path.branch_spurious();
                let at = if last { meant.last().unwrap_or(first) } else { first };
                let (woken, _) = state.sleepers.remove(at);
                let order = execution.threads.active().dpor_vv;
                let (_, thread) = execution.threads.active2_mut(woken);
                // If it goes on by itself anyway, what it does next could have come before this.
                if thread.is_blocked() {
                    // It could not: for the exploration, that is.
                    thread.dpor_vv.join(&order);
                    thread.set_runnable();
                }
            }
        });
    }

",
    },
    Patch {
        what: "futex: between runtime and integers",
        file: "sync/atomic/atomic.rs",
        find: "    /// Read-modify-write\n",
        place: Place::Before,
        text: r"    #[track_caller]
    pub(crate) fn futex_wait(&self, expected: T, whom: u32) -> bool
    where
        T: PartialEq,
    {
        self.state.futex_wait(location!(), expected, whom)
    }

    #[track_caller]
    pub(crate) fn futex_wait_any(words: &[(&Self, T)]) -> Option<usize>
    where
        T: PartialEq,
    {
        let words: Vec<_> = words.iter().map(|(word, expected)| (&word.state, *expected)).collect();
        rt::Atomic::futex_wait_any(location!(), &words)
    }

    #[track_caller]
    pub(crate) fn futex_wake(&self, count: usize, whom: u32) {
        self.state.futex_wake(location!(), count, whom)
    }

    #[track_caller]
    pub(crate) fn membarrier(&self) {
        self.state.membarrier(location!())
    }

",
    },
    Patch {
        what: "futex: on integers",
        file: "sync/atomic/int.rs",
        find: "            /// Loads a value from the atomic integer.\n",
        place: Place::Before,
        text: r"            /// FUTEX_WAIT_BITSET: sleeps if the newest value is `expected`, until woken by a wake
            /// that shares a bit with `whom`. Hands on no happens-before. Tells whether it slept.
            #[track_caller]
            pub fn futex_wait(&self, expected: $int_type, whom: u32) -> bool {
                self.0.futex_wait(expected, whom)
            }

            /// futex_waitv: sleeps if the newest value of each is as expected, until woken at one of them.
            /// Which, the first of several; `None`: one has another value. Hands on no happens-before.
            #[track_caller]
            pub fn futex_wait_any(words: &[(&Self, $int_type)]) -> Option<usize> {
                let words: Vec<_> = words.iter().map(|(word, expected)| (&word.0, *expected)).collect();
                Atomic::futex_wait_any(&words)
            }

            /// FUTEX_WAKE_BITSET: wakes up to `count` of the sleepers who share a bit with `whom`.
            #[track_caller]
            pub fn futex_wake(&self, count: usize, whom: u32) {
                self.0.futex_wake(count, whom)
            }

            /// Every thread fences where it is. Does not commute with accesses to this atomic.
            #[track_caller]
            pub fn membarrier(&self) {
                self.0.membarrier()
            }

",
    },
    Patch {
        what: "futex: sleeps that end by themselves",
        file: "rt/mod.rs",
        find: "/// Maximum number of atomic store history to track per-cell.\n",
        place: Place::Before,
        text: r"std::thread_local! {
    static EXPIRES: std::cell::Cell<bool> = std::cell::Cell::new(false);
}

/// The `futex_wait` that the calling thread is about to call ends by itself, for no reason or because
/// time is up, also after it was queued. A wake may reach it before, and is then consumed. Not for
/// threads that can be killed: one killed in that sleep would stay queued.
pub fn next_wait_expires() {
    EXPIRES.with(|cell| cell.set(true));
}

pub(crate) fn take_expires() -> bool {
    EXPIRES.with(|cell| cell.replace(false))
}

",
    },
    Patch {
        what: "membarrier: whom it reaches",
        file: "rt/mod.rs",
        find: "/// Add an execution branch point.\n",
        place: Place::Before,
        text: r"std::thread_local! {
    /// By thread; a set bit is one who is not reached.
    static UNREACHED: std::cell::Cell<u32> = std::cell::Cell::new(0);
    static AFTER_SWITCHES: std::cell::Cell<fn()> = std::cell::Cell::new(|| ());
}

/// For the execution that begins: membarriers reach all threads.
pub fn all_reached() {
    UNREACHED.with(|cell| cell.set(0));
}

/// Whether membarriers reach the calling thread from now on.
pub fn reached(reached: bool) {
    let me = 1 << execution(|execution| execution.threads.active_id().as_usize());
    UNREACHED.with(|cell| cell.set(if reached { cell.get() & !me } else { cell.get() | me }));
}

/// Membarriers reach the calling thread.
pub fn is_reached_here() -> bool {
    is_reached(execution(|execution| execution.threads.active_id().as_usize()))
}

pub(crate) fn is_reached(thread: usize) -> bool {
    UNREACHED.with(|cell| cell.get() >> thread & 1 == 0)
}

/// For the models that this OS thread runs from now on: `tell` is called by every thread that goes on
/// after another had its turn.
pub fn after_switches(tell: fn()) {
    AFTER_SWITCHES.with(|cell| cell.set(tell));
}

pub(crate) fn after_switch() {
    AFTER_SWITCHES.with(|cell| cell.get())();
}

",
    },
    Patch {
        what: "membarrier: who goes on",
        file: "rt/scheduler.rs",
        find: "        assert!(switch.poll(&mut cx).is_ready());\n",
        place: Place::After,
        text: r"        crate::rt::after_switch();
",
    },
    Patch {
        what: "choice",
        file: "rt/mod.rs",
        find: "/// Maximum number of threads that can be included in a model.\n",
        place: Place::Before,
        text: r"/// Both answers are explored.
pub fn choose() -> bool {
    execution(|execution| execution.path.branch_spurious())
}

",
    },
    Patch {
        what: "choice: public",
        file: "lib.rs",
        find: "pub use rt::{explore, skip_branch, stop_exploring};\n",
        place: Place::After,
        text: r"pub use rt::{
    after_switches, all_reached, before_steps, choose, is_reached_here, next_wait_expires, reached,
};
",
    },
    Patch {
        what: "steps: whom to tell",
        file: "rt/mod.rs",
        find: "/// Marks the current thread as blocked\n",
        place: Place::Before,
        text: r"std::thread_local! {
    static BEFORE_STEPS: std::cell::Cell<fn(bool)> = std::cell::Cell::new(|_| ());
}

/// For the models that this OS thread runs from now on: `tell` is called before each access to an
/// atomic or a cell, by the thread that is about to make it. `true`: it may leave a trace, as all but
/// atomic loads do.
pub fn before_steps(tell: fn(bool)) {
    BEFORE_STEPS.with(|cell| cell.set(tell));
}

pub(crate) fn before_step(leaves_trace: bool) {
    BEFORE_STEPS.with(|cell| cell.get())(leaves_trace);
}

",
    },
    Patch {
        what: "steps: of atomics",
        file: "rt/atomic.rs",
        find: "    fn branch(&self, action: Action, location: Location) {\n",
        place: Place::After,
        text: r"        rt::before_step(!matches!(action, Action::Load));
",
    },
    Patch {
        what: "steps: reads of cells",
        file: "rt/cell.rs",
        find: "    pub(crate) fn start_read(&self, location: Location) -> Reading {\n",
        place: Place::After,
        text: r"        rt::before_step(true);
",
    },
    Patch {
        what: "steps: writes to cells",
        file: "rt/cell.rs",
        find: "    pub(crate) fn start_write(&self, location: Location) -> Writing {\n",
        place: Place::After,
        text: r"        rt::before_step(true);
",
    },
];
