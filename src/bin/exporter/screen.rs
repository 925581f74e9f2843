//! The screen: one task owns what is shown, receives the run's events, and samples its counters.
//!
//! It only watches: nothing here steers the run, and a screen that fails does not stop it.

mod bar;
mod events;
mod line;
mod plain;
mod state;
pub mod summary;
mod task;

use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use exporter::event::{Event, Progress};
use exporter::options::Rate;
use exporter::shutdown::StopHandle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::bar::Bar;
pub use self::bar::width_of_stdout;
use self::events::EventLog;
pub use self::line::{fit, percent, whole};
use self::plain::Plain;
use self::state::{Sample, State};
pub use self::task::TaskProgress;
use crate::metrics::Plan;
use crate::output::log::Format;
use crate::settings;

/// Often enough for a bar to look alive, rarely enough to cost nothing.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// What the screen watches.
pub struct Watch {
    pub progress: Arc<Progress>,
    /// The allowance, which gives the shortest time of the run.
    pub rate: Rate,
    /// A signal that asked the run to stop was logged when it came; the event for it is not logged again.
    pub stop: StopHandle,
    /// Filled in for the metrics once the work is known.
    pub plan: Arc<OnceLock<Plan>>,
    /// Cancelled when the run has returned.
    pub over: CancellationToken,
}

/// How progress is shown, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A bar.
    Bar,
    /// A line now and then.
    Plain,
    /// Nothing.
    None,
}

/// Decides how progress is shown: a bar needs a terminal that can move its cursor.
pub fn mode(screen: settings::Screen) -> Mode {
    choose(screen, can_redraw(&std::io::stderr()))
}

/// Whether a stream is a terminal that can move its cursor.
pub fn can_redraw(stream: &impl IsTerminal) -> bool {
    let able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    able && stream.is_terminal()
}

fn choose(screen: settings::Screen, terminal: bool) -> Mode {
    match screen.progress {
        _ if screen.quiet() => Mode::None,
        settings::Progress::None => Mode::None,
        settings::Progress::Auto if terminal && screen.format == Format::Text => Mode::Bar,
        settings::Progress::Bar if terminal => Mode::Bar,
        _ => Mode::Plain,
    }
}

/// Shows the run until it is over.
pub async fn watch(watch: Watch, mode: Mode, mut events: UnboundedReceiver<Event>) {
    let started = Instant::now();
    let over = watch.over.clone();
    let mut screen =
        Screen { watch, state: State::default(), log: EventLog::default(), display: Display::new(mode) };
    let mut tick = interval(TICK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = true;
    loop {
        let event = tokio::select! {
            event = events.recv(), if open => {
                open = event.is_some();
                event
            }
            _ = tick.tick() => None,
            () = over.cancelled() => break,
        };
        match event {
            Some(event) => screen.handle(event, started.elapsed()),
            None => screen.refresh(started.elapsed()),
        }
    }
    while let Ok(event) = events.try_recv() {
        screen.handle(event, started.elapsed());
    }
}

/// What the task owns. Times are those since it was started.
struct Screen {
    watch: Watch,
    state: State,
    log: EventLog,
    display: Display,
}

impl Screen {
    fn handle(&mut self, event: Event, now: Duration) {
        self.log.log(&event, self.watch.stop.signal().is_some());
        if let Event::Begin { rows, bad, duplicates, skipped, .. } = event {
            let _ = self.watch.plan.set(Plan { rows, bad, duplicates, skipped });
            self.state.apply(event, now);
            self.state.sample(now, Sample::of(&self.watch.progress));
            self.display.start(&self.state, self.watch.rate, now);
        } else {
            self.state.apply(event, now);
        }
    }

    fn refresh(&mut self, now: Duration) {
        self.state.sample(now, Sample::of(&self.watch.progress));
        self.display.show(&self.state, now);
    }
}

/// The form that is shown. Dropping it removes a bar from the screen.
enum Display {
    Bar(Bar),
    Plain(Plain),
    None,
}

impl Display {
    fn new(mode: Mode) -> Self {
        match mode {
            Mode::Bar => Self::Bar(Bar::new()),
            Mode::Plain => Self::Plain(Plain::default()),
            Mode::None => Self::None,
        }
    }

    fn start(&mut self, state: &State, rate: Rate, now: Duration) {
        match self {
            Self::Plain(plain) => plain.start(state, rate, now),
            Self::Bar(bar) => bar.show(state),
            Self::None => {}
        }
    }

    fn show(&mut self, state: &State, now: Duration) {
        match self {
            Self::Plain(plain) => plain.show(state, now),
            Self::Bar(bar) => bar.show(state),
            Self::None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn a_bar_needs_a_terminal_and_text_unless_it_is_asked_for() {
        use settings::Progress::{Auto, Bar, None, Plain};
        for (progress, format, terminal, expected) in [
            (Auto, Format::Text, true, Mode::Bar),
            (Auto, Format::Text, false, Mode::Plain),
            (Auto, Format::Json, true, Mode::Plain),
            (Bar, Format::Json, true, Mode::Bar),
            (Bar, Format::Text, false, Mode::Plain),
            (Plain, Format::Text, true, Mode::Plain),
            (None, Format::Text, true, Mode::None),
        ] {
            let screen = settings::Screen { format, level: LevelFilter::WARN, progress };
            assert_eq!(choose(screen, terminal), expected, "{progress:?} {format:?} {terminal}");
        }
        let quiet = settings::Screen { format: Format::Text, level: LevelFilter::ERROR, progress: Bar };
        assert_eq!(choose(quiet, true), Mode::None);
    }
}
