//! The run of this process on its own terminal.

use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use stagger_data::shown_text;
use stagger_report::{
    BatchRecord, EpochTally, METRICS_FILE, MetricsFollower, Record, ReportError, Sink,
    SkippedRecord,
};
use stagger_runtime::{Event, Interrupt, Outcome, RunError};
use stagger_schedule::{Horizon, Schedule};

use crate::activity::Activity;
use crate::draw::{Moment, draw};
use crate::palette::Palette;
use crate::screen::{Screen, Wish, restore};
use crate::seen::{Rollback, RunSeen, Span};

/// Time between two pictures.
const DRAWN_EVERY: Duration = Duration::from_millis(250);
/// For how long the end of a run waits for the last picture.
const PATIENCE: Duration = Duration::from_secs(1);

/// The screen of a run of this process: [`Live::sink`] takes its events, and a thread of its own draws them.
#[derive(Clone, Default)]
pub struct Live {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Whether the run has the terminal.
    is_up: Arc<AtomicBool>,
    /// Whether the thread that draws is to end, and whether it has.
    is_to_end: AtomicBool,
    has_ended: AtomicBool,
}

#[derive(Default)]
struct State {
    seen: RunSeen,
    activity: Activity,
    tally: Option<EpochTally>,
    schedule: Option<(Schedule, Horizon)>,
    /// The folder of a resumed run, whose metrics have what was before.
    resumed: Option<PathBuf>,
    /// How often training has begun.
    stretches: usize,
    heard_at: Option<Instant>,
    interrupt: Interrupt,
    palette: Option<Palette>,
}

/// How a process that shows its run is to end at once.
pub type Ended = fn();

impl Live {
    /// Nothing is shown yet.
    #[must_use]
    pub fn new(palette: Palette) -> Self {
        let live = Self::default();
        live.state().palette = Some(palette);
        live
    }

    /// Raised while the terminal is a screen, when nothing else is to be written there.
    #[must_use]
    pub fn is_up(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.is_up)
    }

    /// Says what runs: its facts, its schedule, how long it is, what interrupts it, and the folder of a run that is resumed.
    pub fn describe(
        &self,
        facts: &Map<String, Value>,
        schedule: &Schedule,
        horizon: &Horizon,
        interrupt: &Interrupt,
        resumed: Option<PathBuf>,
    ) {
        let mut state = self.state();
        state.seen.is_live = true;
        state.seen.describe(facts);
        state.schedule = Some((schedule.clone(), horizon.clone()));
        state.interrupt = interrupt.clone();
        state.resumed = resumed;
    }

    /// Says where training begins, or begins again.
    pub fn begin(&self, tally: &EpochTally) {
        let mut state = self.state();
        let version = tally.start_version();
        state.tally = Some(tally.clone());
        state.activity = match &state.schedule {
            Some((schedule, horizon)) => Activity::new(schedule, horizon, version),
            None => Activity::default(),
        };
        state.stretches += 1;
        if state.stretches > 1 {
            let times = state.seen.rollback.map_or(0, |back| back.times) + 1;
            state.seen.cut(version);
            state.seen.rollback = Some(Rollback {
                version,
                times,
                rate_factor: None,
            });
        } else if let Some(folder) = state.resumed.take() {
            state.read_before(&folder.join(METRICS_FILE), version);
        }
    }

    /// A receiver of the events of the run. With its first event the terminal becomes a screen, which ends with the run. `end` is called
    /// when the user interrupts for the second time, with the terminal given back.
    #[must_use]
    pub fn sink(&self, end: Ended) -> LiveSink {
        LiveSink {
            live: self.clone(),
            end,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the screen. When that fails, the run trains without a screen.
    fn show(&self, end: Ended) {
        if self.shared.is_up.load(Ordering::SeqCst) {
            return;
        }
        let Ok(screen) = Screen::enter() else {
            return;
        };
        self.shared.is_up.store(true, Ordering::SeqCst);
        let live = self.clone();
        let name = "screen".to_owned();
        let drawn = thread::Builder::new().name(name).spawn(move || {
            live.keep_drawing(screen, end);
            live.shared.has_ended.store(true, Ordering::SeqCst);
        });
        if drawn.is_err() {
            self.shared.is_up.store(false, Ordering::SeqCst);
        }
    }

    fn keep_drawing(&self, mut screen: Screen, end: Ended) {
        let mut is_asked = false;
        while !self.shared.is_to_end.load(Ordering::SeqCst) {
            let (seen, moment) = self.picture(is_asked);
            // A terminal that is gone shows nothing; the signal of that comes by another way.
            let drawn = screen.draw(|frame| draw(frame, &seen, &moment));
            let wish = screen.wish(DRAWN_EVERY);
            let (Ok(()), Ok(wish)) = (drawn, wish) else {
                return;
            };
            match wish {
                Some(Wish::Quit | Wish::Interrupt) if is_asked => {
                    restore();
                    end();
                }
                Some(Wish::Quit | Wish::Interrupt) => {
                    is_asked = true;
                    self.state().interrupt.request();
                }
                Some(Wish::Leave | Wish::Redraw) | None => {}
            }
        }
    }

    /// What is seen now. It is copied, so that a terminal that is slow does not hold up the run.
    fn picture(&self, is_asked: bool) -> (RunSeen, Moment<'static>) {
        let mut state = self.state();
        let mut stages = mem::take(&mut state.seen.stages);
        state.activity.show(&mut stages);
        state.seen.stages = stages;
        let silence = state.heard_at.map_or(Duration::ZERO, |at| at.elapsed());
        let moment = Moment {
            silence,
            keys: match is_asked || state.interrupt.is_requested() {
                true => "halting; q again: end at once, without a snapshot",
                false => "q or Ctrl-C: halt the run with a snapshot",
            },
            palette: state.palette.unwrap_or(Palette::PLAIN),
        };
        (state.seen.clone(), moment)
    }

    /// Ends the drawing and gives the terminal back.
    fn leave(&self) {
        if !self.shared.is_up.load(Ordering::SeqCst) {
            return;
        }
        self.shared.is_to_end.store(true, Ordering::SeqCst);
        let until = Instant::now() + PATIENCE;
        while !self.shared.has_ended.load(Ordering::SeqCst) && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        restore();
        self.shared.is_up.store(false, Ordering::SeqCst);
    }
}

impl State {
    /// Reads what a resumed run had done. Without it, its curves begin where it goes on.
    fn read_before(&mut self, metrics: &std::path::Path, version: usize) {
        let mut follower = MetricsFollower::new(metrics);
        while let Ok(look) = follower.look() {
            for record in &look.records {
                let is_before = match record {
                    Record::Batch(batch) => batch.batch < version,
                    Record::Skipped(skipped) => skipped.batch < version,
                    Record::Epoch(epoch) => epoch.version <= version,
                    _ => false,
                };
                if is_before {
                    self.seen.take(record);
                }
            }
            if !look.has_more {
                break;
            }
        }
    }

    fn take(&mut self, event: &Event) {
        self.heard_at = Some(Instant::now());
        let epoch_of = |tally: &EpochTally, batch| tally.plan().epoch_of(batch) + 1;
        match event {
            Event::Acted(acted) => {
                self.activity.acted(acted);
                self.seen.span = Some(Span::Lately);
            }
            &Event::Trained {
                batch,
                samples,
                loss,
                correct_top1,
                correct_top5,
                learning_rate,
                at,
            } => {
                if let Some(tally) = &self.tally {
                    let percent = |correct: usize| 100.0 * correct as f64 / samples.max(1) as f64;
                    let record = BatchRecord {
                        batch,
                        epoch: epoch_of(tally, batch),
                        loss,
                        top1: percent(correct_top1),
                        top5: percent(correct_top5),
                        lr: learning_rate,
                        samples,
                        at: tally.elapsed_before() + at,
                    };
                    self.seen.take(&Record::Batch(record));
                }
            }
            &Event::Skipped { batch, at, .. } => {
                if let Some(tally) = &self.tally {
                    let record = SkippedRecord {
                        batch,
                        epoch: epoch_of(tally, batch),
                        at: tally.elapsed_before() + at,
                    };
                    self.seen.take(&Record::Skipped(record));
                }
            }
            Event::Interrupted { batch } => self.seen.halts_at = Some(*batch),
            Event::Stalled(stall) => self.seen.stalled = Some(shown_text(&stall.to_string())),
            _ => {}
        }
        if let Some(epoch) = self.tally.as_mut().and_then(|tally| tally.event(event)) {
            self.seen.take(&Record::Epoch(epoch));
        }
    }
}

/// Takes the events of a run for its screen; see [`Live::sink`].
pub struct LiveSink {
    live: Live,
    end: Ended,
}

impl Sink for LiveSink {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if matches!(event, Event::Started { .. }) {
            self.live.show(self.end);
        }
        self.live.state().take(event);
        Ok(())
    }

    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        self.live.leave();
        Ok(())
    }
}

impl Drop for LiveSink {
    fn drop(&mut self) {
        self.live.leave();
    }
}

#[cfg(test)]
mod tests;
