//! Live progress on stderr: bars on a terminal, otherwise a line now and then.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

/// Something that counts up to a total.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "the examples make them")]
pub struct Gauge<'a> {
    /// What is counted.
    pub label: &'static str,
    /// How much there will be.
    pub total: u64,
    /// How much there is.
    pub count: &'a AtomicU64,
}

/// Shows the gauges below a headline until `work` is done.
pub async fn show<T>(
    headline: impl Fn() -> String,
    gauges: &[Gauge<'_>],
    work: impl Future<Output = T>,
) -> T {
    let mut view = View::new(gauges);
    let mut ticks = interval(view.pace());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                view.draw(&headline(), gauges);
                view.leave();
                return done;
            }
            _ = ticks.tick() => view.draw(&headline(), gauges),
        }
    }
}

struct View {
    begun: Instant,
    form: Form,
}

enum Form {
    Bars { headline: ProgressBar, bars: Vec<ProgressBar> },
    Lines { last: String },
}

impl View {
    fn new(gauges: &[Gauge<'_>]) -> Self {
        let screen = MultiProgress::new(); // on stderr, hidden if that is not a terminal
        let add = |total, template| {
            let bar = screen.add(ProgressBar::new(total));
            bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
            bar
        };
        let form = if screen.is_hidden() {
            Form::Lines { last: String::new() }
        } else {
            let headline = add(0, "{msg:.bold}");
            let template = "  {prefix:<16} {bar:40.green/dim} {human_pos:>7} of {human_len}";
            let bars = gauges.iter().map(|gauge| add(gauge.total, template).with_prefix(gauge.label));
            Form::Bars { headline, bars: bars.collect() }
        };
        Self { begun: Instant::now(), form }
    }

    /// Bars should move; lines should not fill a log.
    fn pace(&self) -> Duration {
        Duration::from_millis(match self.form {
            Form::Bars { .. } => 50,
            Form::Lines { .. } => 500,
        })
    }

    fn draw(&mut self, headline: &str, gauges: &[Gauge<'_>]) {
        let time = self.begun.elapsed().as_secs_f64();
        match &mut self.form {
            Form::Bars { headline: line, bars } => {
                line.set_message(format!("{headline} {time:.1} s"));
                for (bar, gauge) in bars.iter().zip(gauges) {
                    bar.set_position(gauge.count.load(Relaxed));
                }
            }
            Form::Lines { last } => {
                let counts = gauges.iter().map(|Gauge { label, total, count }| {
                    format!("{label} {} of {}", HumanCount(count.load(Relaxed)), HumanCount(*total))
                });
                let line = format!("{headline}: {}", counts.collect::<Vec<_>>().join(", "));
                if line != *last {
                    eprintln!("{time:5.1} s  {line}");
                    *last = line;
                }
            }
        }
    }

    /// Leaves the last state on the screen, and the cursor below it.
    fn leave(&self) {
        if let Form::Bars { headline, bars } = &self.form {
            headline.abandon();
            bars.iter().for_each(ProgressBar::abandon);
            eprintln!();
        }
    }
}
