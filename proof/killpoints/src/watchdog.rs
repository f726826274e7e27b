//! Ends the harness if anything in it takes too long: what hangs is a failure, and says where.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is being done now, and until when it must be.
static NOW: Mutex<Option<(Instant, String)>> = Mutex::new(None);

/// Far beyond what anything here takes: a kill and all checks take milliseconds, and stepping
/// through the longest operation some seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// Watches from now on.
pub fn start() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = NOW.lock().map(|now| now.clone()).unwrap_or_default();
            if let Some((deadline, doing)) = now
                && Instant::now() > deadline
            {
                println!("FAILED: hangs: {doing}");
                println!("kill points: 1, passed: 0");
                // Victims die with their tracer, and names go with this.
                crate::run::remove_rings();
                std::process::exit(1);
            }
        }
    });
}

/// This is being done now.
pub fn watch(doing: String) {
    if let Ok(mut now) = NOW.lock() {
        *now = Some((Instant::now() + LIMIT, doing));
    }
}
