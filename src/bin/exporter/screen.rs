//! The screen: one task owns what is shown, takes the run's events, and looks at its counters.
//!
//! It only watches; nothing here steers the run, and a screen that breaks does not stop it.

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

use self::bar::Bars;
pub use self::bar::width_of_output;
use self::events::Teller;
pub use self::line::{fit, percent, whole};
use self::plain::Plain;
use self::state::{Sample, State};
pub use self::task::Steps;
use crate::metrics::Plan;
use crate::output::log::Format;
use crate::settings;

/// Often enough for a bar to look alive, seldom enough to cost nothing.
const TICK: Duration = Duration::from_millis(250);

/// What the screen looks at.
pub struct Watch {
    /// The run's counters.
    pub progress: Arc<Progress>,
    /// The allowance, for the shortest time.
    pub rate: Rate,
    /// Whether a signal asked for the end: then it has been said.
    pub stop: StopHandle,
    /// Where the work is written down once it is known, for the metrics.
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
    let able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    choose(screen, able && std::io::stderr().is_terminal())
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
    let begin = Instant::now();
    let mut state = State::default();
    let mut teller = Teller::default();
    let mut face = Face::new(mode);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = true;
    loop {
        let event = tokio::select! {
            event = events.recv(), if open => {
                open = event.is_some();
                event
            }
            _ = tick.tick() => None,
            () = watch.over.cancelled() => break,
        };
        let now = begin.elapsed();
        if let Some(event) = event {
            take(&mut state, &mut teller, &mut face, &watch, event, now);
        } else {
            state.look(now, Sample::of(&watch.progress));
            face.show(&state, now);
        }
    }
    while let Ok(event) = events.try_recv() {
        take(&mut state, &mut teller, &mut face, &watch, event, begin.elapsed());
    }
    face.close();
}

fn take(state: &mut State, teller: &mut Teller, face: &mut Face, watch: &Watch, event: Event, now: Duration) {
    teller.tell(&event, watch.stop.signal().is_some());
    let begins = matches!(event, Event::Begin { .. });
    if let Event::Begin { rows, bad, duplicates, skipped, .. } = event {
        let _ = watch.plan.set(Plan { rows, bad, duplicates, skipped });
    }
    state.apply(event, now);
    if begins {
        state.look(now, Sample::of(&watch.progress));
        face.begin(state, watch.rate, now);
    }
}

/// The one that is shown.
enum Face {
    Bar(Bars),
    Plain(Plain),
    None,
}

impl Face {
    fn new(mode: Mode) -> Self {
        match mode {
            Mode::Bar => Self::Bar(Bars::new()),
            Mode::Plain => Self::Plain(Plain::default()),
            Mode::None => Self::None,
        }
    }

    fn begin(&mut self, state: &State, rate: Rate, now: Duration) {
        match self {
            Self::Plain(plain) => plain.begin(state, rate, now),
            Self::Bar(bars) => bars.show(state),
            Self::None => {}
        }
    }

    fn show(&mut self, state: &State, now: Duration) {
        match self {
            Self::Plain(plain) => plain.show(state, now),
            Self::Bar(bars) => bars.show(state),
            Self::None => {}
        }
    }

    fn close(self) {
        if let Self::Bar(bars) = self {
            bars.close();
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
