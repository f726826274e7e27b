//! Which instructions the calls of every form consist of: where ambushes can be laid.

use harness::End as _;
use histories::history::{End, What};
use ringpipe::{Mpmc, MpmcMessages, Spsc, SpscMessages, WaitPolicy};

use crate::ambush::trace;
use crate::plan::{FORMS, Form, Step};
use crate::worker::{Acts, Handle, call};

/// Instructions, by kind, end and form.
#[derive(Debug, Default)]
pub struct Survey(Vec<(u32, End, Form, Vec<usize>)>);

impl Survey {
    /// Traces calls on rings of this process's own.
    pub fn new() -> Result<Self, String> {
        let mut survey = Self::default();
        for form in FORMS {
            survey.trace_form::<Spsc>(form)?;
            survey.trace_form::<Mpmc>(form)?;
            if !matches!(form, Form::TrySlice | Form::WaitSlice | Form::TryExact) {
                survey.trace_form::<SpscMessages>(form)?;
                survey.trace_form::<MpmcMessages>(form)?;
            }
        }
        Ok(survey)
    }

    /// One of the instructions that such calls consist of.
    pub fn pick(&self, kind: u32, end: End, form: Form, number: usize) -> usize {
        let of = |entry: &&(u32, End, Form, Vec<usize>)| {
            (entry.0, entry.1, entry.2) == (kind, end, form)
        };
        let instructions = self.0.iter().find(of).map_or(&[][..], |entry| &entry.3);
        instructions.get(number % instructions.len().max(1)).copied().unwrap_or(0)
    }

    /// Instructions altogether.
    pub fn len(&self) -> usize {
        self.0.iter().map(|entry| entry.3.len()).sum()
    }

    fn trace_form<K: Acts>(&mut self, form: Form) -> Result<(), String> {
        let step = Step { form, size: 2, part: 1, wait: 0, pause: 0 };
        let one = Step { size: 1, part: 1, ..step };
        let step = if matches!(form, Form::Try | Form::Wait) { one } else { step };
        let sends_one = Step { size: if K::MESSAGES { 1 } else { step.size }, ..step };
        let sending = sends_one.what(End::Sender, 0, 0, 0);
        let receiving = What::Close; // a receiver's call needs no values
        let (mut sends, mut receives) = (Vec::new(), Vec::new());
        let traced = |handle: &mut Option<Handle<K>>, what: &What, into: &mut Vec<usize>| {
            let mut outcome = Ok(());
            let found = trace(|| outcome = call(handle, step, what).map(drop))?;
            into.extend(found);
            outcome
        };
        let ends = if K::MANY { 8 } else { 2 };
        let ring = K::options(if K::MESSAGES { 4 } else { 2 }).endpoints(ends).create_anonymous();
        let ring = ring.map_err(|e| e.to_string())?;
        // With room and items, twice; then without; then at end-of-file and with a broken pipe.
        let sender = || K::sender(&ring).map_err(|e| e.to_string());
        let receiver = || K::receiver(&ring).map_err(|e| e.to_string());
        let (mut tx, mut rx) = (sender()?, receiver()?);
        if form != Form::Wait {
            // Once is enough: a trace of much spinning takes long.
            tx.set_wait_policy(WaitPolicy::Park);
            rx.set_wait_policy(WaitPolicy::Park);
        }
        let (mut tx, mut rx) = (Some(Handle::<K>::Sender(tx)), Some(Handle::<K>::Receiver(rx, 0)));
        if form == Form::Close {
            traced(&mut tx, &What::Close, &mut sends)?;
            traced(&mut rx, &What::Close, &mut receives)?;
        } else {
            for _ in 0..3 {
                traced(&mut tx, &sending, &mut sends)?;
            }
            for _ in 0..3 {
                traced(&mut rx, &receiving, &mut receives)?;
            }
            if K::MANY {
                // And what another receiver has left behind.
                let mut other = Some(Handle::<K>::Receiver(receiver()?, 0));
                let keep = Step { form: Form::TryRun, part: 0, ..step };
                call(&mut tx, Step { form: Form::Try, ..one }, &one.what(End::Sender, 0, 0, 0))?;
                call(&mut other, keep, &receiving)?;
                drop(other);
                traced(&mut rx, &receiving, &mut receives)?;
            }
            drop(tx.take());
            traced(&mut rx, &receiving, &mut receives)?;
            let mut tx = Some(Handle::<K>::Sender(sender()?));
            drop(rx.take());
            traced(&mut tx, &sending, &mut sends)?;
        }
        self.add(K::CODE, End::Sender, form, sends);
        self.add(K::CODE, End::Receiver, form, receives);
        Ok(())
    }

    /// Each instruction once: loops would draw all ambushes to themselves.
    fn add(&mut self, kind: u32, end: End, form: Form, mut instructions: Vec<usize>) {
        instructions.sort_unstable();
        instructions.dedup();
        self.0.push((kind, end, form, instructions));
    }
}
