//! What the processes of a history are to do: random, and repeated by a seed.

use harness::Rng;
use histories::history::{End, Kind, SLOTS, Value, What};

use crate::ambush::LONG;

/// Workers in a history.
pub const WORKERS: usize = 4;
/// Calls of a worker, its close included.
pub const CALLS: usize = 6;

/// The form of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One value, without waiting.
    Try,
    /// One value, waiting.
    Wait,
    /// A slice, without waiting.
    TrySlice,
    /// A slice, waiting for the first.
    WaitSlice,
    /// A whole slice or nothing, without waiting.
    TryExact,
    /// In place, without waiting.
    TryRun,
    /// In place, waiting.
    WaitRun,
    /// The end is closed.
    Close,
}

/// All of them; the last is the close.
pub const FORMS: [Form; 8] = [
    Form::Try,
    Form::Wait,
    Form::TrySlice,
    Form::WaitSlice,
    Form::TryExact,
    Form::TryRun,
    Form::WaitRun,
    Form::Close,
];

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// How.
    pub form: Form,
    /// For how many items.
    pub size: u8,
    /// How many of them to commit or release; `size` except for runs.
    pub part: u8,
    /// How long to wait, in microseconds.
    pub wait: u16,
    /// Turns to let pass before the call.
    pub pause: u16,
}

impl Step {
    /// As a word of the board.
    pub fn encode(self) -> u64 {
        let form = FORMS.iter().position(|&form| form == self.form).unwrap_or(0) as u64;
        form | u64::from(self.size) << 8
            | u64::from(self.part) << 16
            | u64::from(self.wait) << 32
            | u64::from(self.pause) << 48
    }

    /// From a word of the board.
    pub fn decode(word: u64) -> Self {
        Self {
            form: FORMS[word as usize % FORMS.len()],
            size: (word >> 8) as u8,
            part: (word >> 16) as u8,
            wait: (word >> 32) as u16,
            pause: (word >> 48) as u16,
        }
    }

    /// Messages are sent one by one, and received one by one or in place.
    fn of_messages(&mut self, end: End) {
        self.form = match self.form {
            Form::TrySlice | Form::TryExact => Form::TryRun,
            Form::WaitSlice => Form::WaitRun,
            form => form,
        };
        if end == End::Sender {
            (self.size, self.part) = (1, self.part.min(1));
        }
    }

    /// As it stands in a history.
    pub fn what(self, end: End, history: u64, process: usize, call: usize) -> What {
        let need = if self.form == Form::TryExact { self.size } else { 1 };
        match (self.form, end) {
            (Form::Close, _) => What::Close,
            (_, End::Sender) => {
                let values = (0..self.size).map(|k| value(history, process, call, k)).collect();
                What::Send { values, need, commit: self.part }
            }
            _ => What::Receive { max: self.size, need, release: self.part },
        }
    }
}

/// A value that no other call of any history sends.
pub fn value(history: u64, process: usize, call: usize, index: u8) -> Value {
    let of_process = (call * SLOTS) as u64 + u64::from(index);
    history << 16 | (process as u64) << 8 | of_process
}

/// What befalls a process in the midst of a call.
#[derive(Clone, Copy, Debug)]
pub struct Ambush {
    /// In which call.
    pub call: u8,
    /// It is stalled until the processes have drawn so many stamps; 0: it is killed.
    pub stamps: u8,
    /// At which of the instructions that such calls consist of; the same twice: once.
    pub at: [u16; 2],
}

impl Ambush {
    /// As a word of the board; 0 is none.
    pub fn encode(self) -> u64 {
        1 | u64::from(self.call) << 8
            | u64::from(self.stamps) << 16
            | u64::from(self.at[0]) << 32
            | u64::from(self.at[1]) << 48
    }

    /// From a word of the board.
    pub fn decode(word: u64) -> Option<Self> {
        (word != 0).then_some(Self {
            call: (word >> 8) as u8,
            stamps: (word >> 16) as u8,
            at: [(word >> 32) as u16, (word >> 48) as u16],
        })
    }
}

/// Where the processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Places {
    /// Wherever.
    Free = 0,
    /// All on one processor.
    Together = 1,
    /// By turns on all.
    Apart = 2,
}

/// One worker's part.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its end.
    pub end: End,
    /// Its calls.
    pub steps: Vec<Step>,
    /// What befalls it.
    pub ambush: Option<Ambush>,
    /// Waits by spinning (1), sleeping (2), or both (0).
    pub policy: u32,
}

/// One history to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which ring.
    pub kind: Kind,
    /// It carries messages.
    pub messages: bool,
    /// Its slots.
    pub capacity: u8,
    /// Where.
    pub places: Places,
    /// Who.
    pub parts: Vec<Part>,
}

impl Plan {
    /// The next one.
    pub fn draw(rng: &mut Rng) -> Self {
        let kind = if rng.percent(30) { Kind::Spsc } else { Kind::Mpmc };
        let messages = rng.percent(30);
        // A ring of messages has a page, which four of them fill.
        let capacity = if messages { 4 } else { rng.pick(&[1, 2, 4]) };
        let ends: Vec<End> = match kind {
            Kind::Spsc => vec![End::Sender, End::Receiver],
            Kind::Mpmc => {
                let (senders, receivers) =
                    rng.pick(&[(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)]);
                let senders = std::iter::repeat_n(End::Sender, senders);
                senders.chain(std::iter::repeat_n(End::Receiver, receivers)).collect()
            }
        };
        // Half of the plans are of single values only, and a third keep everything they claim.
        let simple = rng.percent(50);
        let gives_back = !simple && rng.percent(35);
        let mut parts: Vec<_> = ends
            .into_iter()
            .map(|end| {
                let calls = rng.within(2..CALLS as u64);
                let mut steps: Vec<_> =
                    (0..calls).map(|_| draw_step(rng, capacity, simple, gives_back)).collect();
                if messages {
                    steps.iter_mut().for_each(|step| step.of_messages(end));
                }
                steps.push(Step {
                    form: Form::Close,
                    size: 0,
                    part: 0,
                    wait: 0,
                    pause: pause(rng),
                });
                let ambush = rng.percent(70).then(|| draw_ambush(rng, steps.len()));
                Part { end, steps, ambush, policy: rng.within(0..3) as u32 }
            })
            .collect();
        if rng.percent(25) {
            let victim = rng.within(0..parts.len() as u64) as usize;
            let calls = parts[victim].steps.len();
            // Half of the time the others' stalls last until somebody has looked for the dead: what
            // a living one has claimed beside the dead must be left to it.
            let long = rng.percent(50);
            let death = Ambush { stamps: 0, ..draw_ambush(rng, calls) };
            for (index, part) in parts.iter_mut().enumerate() {
                match &mut part.ambush {
                    ambush if index == victim => *ambush = Some(death),
                    Some(ambush) if long => ambush.stamps = LONG,
                    _ => {}
                }
            }
        }
        let places = rng.pick(&[Places::Free, Places::Together, Places::Apart, Places::Apart]);
        Self { kind, messages, capacity, places, parts }
    }

    /// Somebody may be killed.
    pub fn is_deadly(&self) -> bool {
        self.parts.iter().any(Part::is_deadly)
    }

    /// Somebody may give something back.
    pub fn gives_back(&self) -> bool {
        self.parts.iter().any(|part| part.steps.iter().any(|step| step.part < step.size))
    }
}

impl Part {
    /// It may be killed.
    pub fn is_deadly(&self) -> bool {
        self.ambush.is_some_and(|ambush| ambush.stamps == 0)
    }
}

fn pause(rng: &mut Rng) -> u16 {
    match rng.within(0..4) {
        0 | 1 => 0,
        2 => rng.within(1..40) as u16,
        _ => rng.within(40..2000) as u16,
    }
}

fn draw_step(rng: &mut Rng, capacity: u8, simple: bool, gives_back: bool) -> Step {
    let form = match simple {
        true => rng.pick(&[Form::Try, Form::Try, Form::Wait]),
        false => FORMS[rng.within(0..7) as usize],
    };
    let size = match form {
        Form::Try | Form::Wait => 1,
        _ => rng.within(1..u64::from(capacity.min(3)) + 1) as u8,
    };
    let in_place = matches!(form, Form::TryRun | Form::WaitRun);
    let part = match in_place && gives_back {
        true => rng.within(0..u64::from(size) + 1) as u8,
        false => size,
    };
    let wait = rng.pick(&[0, 20, 100, 300]);
    // Now and then long enough to notice a death.
    let wait = if rng.percent(4) { 2500 } else { wait };
    Step { form, size, part, wait, pause: pause(rng) }
}

fn draw_ambush(rng: &mut Rng, calls: usize) -> Ambush {
    let (first, second) = (rng.next() as u16, rng.next() as u16);
    let twice = rng.percent(50);
    Ambush {
        call: rng.within(0..calls as u64) as u8,
        stamps: rng.within(1..12) as u8,
        at: [first, if twice { second } else { first }],
    }
}
