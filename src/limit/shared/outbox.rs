//! Messages that are not yet in the table. They stay here until they are written there: also over a trouble, so that the
//! other runs learn what this one did meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use super::message::{Message, Step};

#[derive(Debug)]
pub(super) struct Outbox {
    messages: VecDeque<Message>,
    /// How many have left it.
    gone: u64,
    /// How long a message matters to other runs.
    memory: Duration,
}

impl Outbox {
    pub(super) const fn new(memory: Duration) -> Self {
        Self { messages: VecDeque::new(), gone: 0, memory }
    }

    /// Adds a message, and forgets what matters no more.
    pub(super) fn push(&mut self, message: Message) {
        let now = message.at;
        while self.messages.front().is_some_and(|first| first.at + self.memory + wait(first) < now) {
            self.messages.pop_front();
            self.gone += 1;
        }
        self.messages.push_back(message);
    }

    /// All messages, and a mark for [`Outbox::written`].
    pub(super) fn messages(&self) -> (Vec<Message>, u64) {
        (self.messages.iter().cloned().collect(), self.gone + self.messages.len() as u64)
    }

    /// The messages up to this mark are in the table.
    pub(super) fn written(&mut self, mark: u64) {
        let count = usize::try_from(mark.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        self.messages.drain(..count.min(self.messages.len()));
        self.gone = self.gone.max(mark);
    }
}

/// A 429 matters as long as the wait that it names.
fn wait(message: &Message) -> Duration {
    match &message.step {
        Step::Answered(headers) if headers.limited => headers.named_wait().unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::super::boot::Process;
    use super::*;
    use crate::limit::shared::message::Stake;
    use crate::remote::rate_headers::RateHeaders;

    fn message(at: u64, step: Step) -> Message {
        Message {
            at: Duration::from_secs(at),
            run: 1,
            process: Process { pid: 1, started: 1 },
            stake: Stake::WHOLE,
            request: 1,
            step,
        }
    }

    fn times(outbox: &Outbox) -> Vec<u64> {
        outbox.messages().0.iter().map(|message| message.at.as_secs()).collect()
    }

    #[test]
    fn what_is_written_leaves_and_what_came_meanwhile_stays() {
        let mut outbox = Outbox::new(Duration::from_secs(10));
        outbox.push(message(1, Step::Released));
        outbox.push(message(2, Step::Released));
        let (_, mark) = outbox.messages();
        outbox.push(message(12, Step::Released));
        assert_eq!(times(&outbox), [2, 12], "the first is too old by then");
        outbox.written(mark);
        assert_eq!(times(&outbox), [12]);
        outbox.written(mark);
        assert_eq!(times(&outbox), [12]);
    }

    #[test]
    fn a_429_stays_as_long_as_it_asks_to_wait() {
        let wait = Some(Duration::from_mins(1));
        let refused = RateHeaders { limited: true, retry_after: wait, ..RateHeaders::default() };
        let mut outbox = Outbox::new(Duration::from_secs(10));
        outbox.push(message(1, Step::Answered(refused)));
        outbox.push(message(60, Step::Released));
        assert_eq!(times(&outbox), [1, 60]);
        outbox.push(message(80, Step::Released));
        assert_eq!(times(&outbox), [80]);
    }
}
