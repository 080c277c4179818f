//! [`Reload`]: what is made from files, made again when they change.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// How often to look whether a file has changed: a token that is taken back stops to work within a second, and a busy
/// gateway looks no more often.
const LOOK: Duration = Duration::from_secs(1);

/// A value made from files.
pub(crate) struct Reload<T> {
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, String> + Send + Sync>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    looked: Instant,
    modified: Vec<Option<SystemTime>>,
}

impl<T> Reload<T> {
    /// Makes the first value.
    ///
    /// # Errors
    ///
    /// What `make` says.
    pub(crate) fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // Before it is read: a change in between is then seen at the next look.
        let modified = modified(&files);
        let state = State { value: Arc::new(make()?), looked: Instant::now(), modified };
        Ok(Self { files, make: Box::new(make), state: Mutex::new(state) })
    }

    /// The value. If its files have changed and are no good now, it stays as it was, and that is logged.
    pub(crate) fn get(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            self.look(&mut state);
        }
        Arc::clone(&state.value)
    }

    fn look(&self, state: &mut State<T>) {
        state.looked = Instant::now();
        let modified = modified(&self.files);
        if modified == state.modified {
            return;
        }
        state.modified = modified;
        match (self.make)() {
            Ok(value) => {
                state.value = Arc::new(value);
                tracing::info!(files = ?self.files, "read again, because it has changed");
            }
            Err(problem) => tracing::error!("{problem}; what was there before the change stays in force"),
        }
    }

    /// Looks at once, for tests.
    #[cfg(test)]
    pub(crate) fn look_now(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut state);
        Arc::clone(&state.value)
    }
}

impl<T> fmt::Debug for Reload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("files", &self.files).finish_non_exhaustive()
    }
}

fn modified(files: &[PathBuf]) -> Vec<Option<SystemTime>> {
    files.iter().map(|file| fs::metadata(file).and_then(|file| file.modified()).ok()).collect()
}
