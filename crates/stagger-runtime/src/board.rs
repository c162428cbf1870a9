//! What every stage is doing at present. It is read when nothing moves any more.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stagger_schedule::Action;

use stagger_schedule::Replicas;

/// Completed actions that are remembered of each stage.
const REMEMBERED: usize = 8;

/// A line per place; the worker of each writes its own, by way of a [`Line`].
#[derive(Debug)]
pub(crate) struct Board {
    replicas: Replicas,
    places: Vec<Mutex<Doing>>,
    /// Other processes, the stages of each, and when it was last heard of.
    ranks: Mutex<Vec<Heard>>,
    /// Grows with everything that is written.
    beats: AtomicU64,
}

/// What a stage waits for, within an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WaitsFor {
    /// A message from the stage below, or room in the queue of gradients to it.
    Below,
    /// The same, above.
    Above,
    /// The loader.
    Loader,
    /// Another replica of the stage.
    Replicas,
}

/// What a stage does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Doing {
    /// Completed actions, oldest first.
    done: VecDeque<Action>,
    action: Option<Action>,
    waits_for: Option<WaitsFor>,
    ended: bool,
}

impl Doing {
    /// Whether it is past the snapshot of a version.
    fn has_snapshot(&self, version: usize) -> bool {
        let is_past = |action: &Action| match *action {
            Action::Evaluate { version: at } => at >= version,
            Action::Backward { batch, .. }
            | Action::WeightGradients { batch, .. }
            | Action::Recompute { batch, .. } => batch >= version,
            _ => false,
        };
        let taken = Action::Snapshot { version };
        self.ended
            || self.done.contains(&taken)
            || self.done.iter().chain(&self.action).any(is_past)
    }
}

/// A process that reports what its stages do.
#[derive(Clone, Debug)]
struct Heard {
    rank: usize,
    places: Range<usize>,
    /// The last time.
    at: Instant,
    /// What it has counted of its own movements.
    beats: u64,
}

/// A process that has not been heard of for this long is the one that holds the others up.
const SILENCE: Duration = Duration::from_secs(3);

impl Board {
    pub fn new(replicas: &Replicas) -> Self {
        Self {
            replicas: replicas.clone(),
            places: (0..replicas.places()).map(|_| Mutex::default()).collect(),
            ranks: Mutex::default(),
            beats: AtomicU64::new(0),
        }
    }

    /// Notes that a process with these stages is there.
    pub fn heard_of(&self, rank: usize, places: Range<usize>) {
        let at = Instant::now();
        let mut ranks = self.ranks.lock().unwrap_or_else(PoisonError::into_inner);
        match ranks.iter_mut().find(|heard| heard.rank == rank) {
            Some(heard) => heard.at = at,
            None => ranks.push(Heard {
                rank,
                places,
                at,
                beats: 0,
            }),
        }
    }

    /// Notes what a process has counted of its movements.
    pub fn beats_of(&self, rank: usize, beats: u64) {
        let mut ranks = self.ranks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = ranks.iter_mut().find(|heard| heard.rank == rank)
            && heard.beats != beats
        {
            heard.beats = beats;
            self.beats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that a process has ended, and its stages with it: it is not waited for.
    pub fn has_ended(&self, rank: usize) {
        let mut ranks = self.ranks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = ranks.iter().position(|heard| heard.rank == rank) else {
            return;
        };
        for place in ranks.swap_remove(at).places {
            self.write(place, |doing| doing.ended = true);
        }
    }

    /// What these places do.
    pub fn lines(&self, places: Range<usize>) -> Vec<Doing> {
        let lines = self.places.get(places).unwrap_or_default().iter();
        let copy =
            |doing: &Mutex<Doing>| doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lines.map(copy).collect()
    }

    /// Writes what the places from `first` on do, as their process reports it.
    pub fn replace(&self, first: usize, lines: impl Iterator<Item = Doing>) {
        for (place, line) in (first..).zip(lines) {
            let Some(doing) = self.places.get(place) else {
                return;
            };
            let mut doing = doing.lock().unwrap_or_else(PoisonError::into_inner);
            if *doing != line {
                *doing = line;
                self.beats.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether these places have taken the snapshot of a version.
    pub fn have_snapshot(&self, places: Range<usize>, version: usize) -> bool {
        let lines = self.lines(places);
        lines.iter().all(|doing| doing.has_snapshot(version))
    }

    /// A process that has been silent, and for how long.
    fn silent(&self) -> Option<(Heard, Duration)> {
        let ranks = self.ranks.lock().unwrap_or_else(PoisonError::into_inner);
        let silences = ranks
            .iter()
            .map(|heard| (heard.clone(), heard.at.elapsed()));
        silences
            .filter(|(_, silence)| *silence >= SILENCE)
            .max_by_key(|(_, silence)| *silence)
    }

    /// A number that changes as long as anything moves: also within an action, as evaluations are long.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    fn write(&self, place: usize, change: impl FnOnce(&mut Doing)) {
        self.beats.fetch_add(1, Ordering::Relaxed);
        if let Some(doing) = self.places.get(place) {
            change(&mut doing.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// What holds the pipeline up after `quiet` in which nothing moved.
    pub fn stall(&self, quiet: Duration) -> Stall {
        let places = self.lines(0..self.places.len());
        let busy = |doing: &&Doing| !doing.ended && doing.waits_for.is_none();
        let loads = |doing: &&Doing| doing.waits_for == Some(WaitsFor::Loader);
        let silent = self.silent();
        // A stage of a process that does not answer; one that does not wait; or else one that waits for the loader.
        let culprit = (silent.as_ref().map(|(heard, _)| heard.places.start))
            .or_else(|| places.iter().position(|doing| busy(&doing)))
            .or_else(|| places.iter().position(|doing| loads(&doing)));
        let place = culprit.map(|number| self.replicas.place(number));
        Stall {
            quiet,
            stage: place.map(|place| place.stage),
            replica: place
                .filter(|place| place.of > 1)
                .map(|place| place.replica),
            action: culprit.and_then(|place| places[place].action),
            waits_for_the_loader: culprit.is_some_and(|place| loads(&&places[place])),
            silent_rank: silent.map(|(heard, silence)| (heard.rank, silence)),
            grid: self.grid(&places),
        }
    }

    fn grid(&self, places: &[Doing]) -> String {
        let mut grid = String::new();
        for (number, doing) in places.iter().enumerate() {
            let _ = write!(grid, "{}:", self.replicas.place(number));
            for action in &doing.done {
                let _ = write!(grid, " {action}");
            }
            if let Some(action) = doing.action {
                let _ = write!(grid, " → {action}");
            }
            grid.push_str(match doing.waits_for {
                _ if doing.ended => " (ended)",
                Some(WaitsFor::Below) => " (waits for the stage below)",
                Some(WaitsFor::Above) => " (waits for the stage above)",
                Some(WaitsFor::Loader) => " (waits for the loader)",
                Some(WaitsFor::Replicas) => " (waits for another replica)",
                None => " (works)",
            });
            grid.push('\n');
        }
        grid
    }
}

/// Where a stage writes what it does.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    board: Arc<Board>,
    place: usize,
}

impl Line {
    pub fn new(board: &Arc<Board>, place: usize) -> Self {
        let board = Arc::clone(board);
        Self { board, place }
    }

    pub fn begins(&self, action: Action) {
        self.write(|doing| doing.action = Some(action));
    }

    pub fn completes(&self, action: Action) {
        self.write(|doing| {
            doing.action = None;
            if doing.done.len() == REMEMBERED {
                doing.done.pop_front();
            }
            doing.done.push_back(action);
        });
    }

    /// Runs `wait`, says meanwhile what the stage waits for, and adds the time to `account`.
    pub fn waits<R>(
        &self,
        waits_for: WaitsFor,
        account: &mut Duration,
        wait: impl FnOnce() -> R,
    ) -> R {
        self.write(|doing| doing.waits_for = Some(waits_for));
        let started = Instant::now();
        let result = wait();
        *account += started.elapsed();
        self.write(|doing| doing.waits_for = None);
        result
    }

    pub fn ends(&self) {
        self.write(|doing| doing.ended = true);
    }

    fn write(&self, change: impl FnOnce(&mut Doing)) {
        self.board.write(self.place, change);
    }
}

/// A pipeline in which nothing moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Time in which nothing has moved.
    pub quiet: Duration,
    /// The stage that the others wait for; `None` when every stage waits for another.
    pub stage: Option<usize>,
    /// Which of its replicas, where it has several.
    pub replica: Option<usize>,
    /// What that stage is doing.
    pub action: Option<Action>,
    /// Whether it waits for the loader.
    pub waits_for_the_loader: bool,
    /// The process of that stage, where it has not been heard of for some time.
    pub silent_rank: Option<(usize, Duration)>,
    /// A line per stage, or replica of one: its last actions, and what it is doing.
    pub grid: String,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.quiet.as_secs_f64();
        write!(f, "nothing has moved for {seconds:.0} s: ")?;
        if let Some((rank, silence)) = self.silent_rank {
            let silence = silence.as_secs_f64();
            write!(f, "rank {rank} has not been heard of for {silence:.0} s; ")?;
        }
        let replica = match self.replica {
            Some(replica) => format!(", replica {replica}"),
            None => String::new(),
        };
        match (self.stage, self.waits_for_the_loader) {
            (Some(stage), true) => write!(f, "stage {stage}{replica} waits for the loader")?,
            (Some(stage), false) => write!(f, "the others wait for stage {stage}{replica}")?,
            (None, _) => write!(f, "every stage waits for another")?,
        }
        if let Some(action) = self.action {
            write!(f, ", in {action}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(batch: usize) -> Action {
        Action::Forward { batch, micro: 0 }
    }

    /// A stage that waits, within an action.
    fn waiting(board: &Arc<Board>, stage: usize, action: Action, waits_for: WaitsFor) {
        Line::new(board, stage).begins(action);
        board.write(stage, |doing| doing.waits_for = Some(waits_for));
    }

    #[test]
    fn the_stage_that_does_not_wait_holds_the_others_up() {
        let board = Arc::new(Board::new(&Replicas::none(3)));
        for batch in 0..20 {
            Line::new(&board, 0).completes(forward(batch));
        }
        waiting(&board, 0, forward(20), WaitsFor::Above);
        Line::new(&board, 1).begins(forward(18));
        waiting(&board, 2, forward(17), WaitsFor::Below);
        let stall = board.stall(Duration::from_secs(90));
        assert_eq!(
            stall.to_string(),
            "nothing has moved for 90 s: the others wait for stage 1, in F18"
        );
        assert_eq!(
            stall.grid,
            "stage 0: F12 F13 F14 F15 F16 F17 F18 F19 → F20 (waits for the stage above)\n\
             stage 1: → F18 (works)\n\
             stage 2: → F17 (waits for the stage below)\n"
        );
    }

    #[test]
    fn the_loader_is_named() {
        let board = Arc::new(Board::new(&Replicas::none(2)));
        waiting(&board, 0, forward(3), WaitsFor::Loader);
        waiting(&board, 1, forward(2), WaitsFor::Below);
        let stall = board.stall(Duration::from_secs(5)).to_string();
        assert_eq!(
            stall,
            "nothing has moved for 5 s: stage 0 waits for the loader, in F3"
        );
    }
}
