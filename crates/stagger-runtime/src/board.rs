//! What every stage is doing at present. It is read when nothing moves any more.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stagger_schedule::Action;

/// Completed actions that are remembered of each stage.
const REMEMBERED: usize = 8;

/// A line per stage; each stage writes its own, by way of a [`Line`].
#[derive(Debug)]
pub(crate) struct Board {
    stages: Vec<Mutex<Doing>>,
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

/// A process that reports what its stages do.
#[derive(Clone, Debug)]
struct Heard {
    rank: usize,
    stages: Range<usize>,
    /// The last time.
    at: Instant,
    /// What it has counted of its own movements.
    beats: u64,
}

/// A process that has not been heard of for this long is the one that holds the others up.
const SILENCE: Duration = Duration::from_secs(3);

impl Board {
    pub fn new(stages: usize) -> Self {
        Self {
            stages: (0..stages).map(|_| Mutex::default()).collect(),
            ranks: Mutex::default(),
            beats: AtomicU64::new(0),
        }
    }

    /// Notes that a process with these stages is there.
    pub fn heard_of(&self, rank: usize, stages: Range<usize>) {
        let at = Instant::now();
        let mut ranks = self.ranks.lock().unwrap_or_else(PoisonError::into_inner);
        match ranks.iter_mut().find(|heard| heard.rank == rank) {
            Some(heard) => heard.at = at,
            None => ranks.push(Heard {
                rank,
                stages,
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
        for stage in ranks.swap_remove(at).stages {
            self.write(stage, |doing| doing.ended = true);
        }
    }

    /// What these stages do.
    pub fn lines(&self, stages: Range<usize>) -> Vec<Doing> {
        let lines = self.stages.get(stages).unwrap_or_default().iter();
        let copy =
            |doing: &Mutex<Doing>| doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lines.map(copy).collect()
    }

    /// Writes what the stages from `first` do, as their process reports it.
    pub fn replace(&self, first: usize, lines: impl Iterator<Item = Doing>) {
        for (stage, line) in (first..).zip(lines) {
            let Some(doing) = self.stages.get(stage) else {
                return;
            };
            let mut doing = doing.lock().unwrap_or_else(PoisonError::into_inner);
            if *doing != line {
                *doing = line;
                self.beats.fetch_add(1, Ordering::Relaxed);
            }
        }
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

    fn write(&self, stage: usize, change: impl FnOnce(&mut Doing)) {
        self.beats.fetch_add(1, Ordering::Relaxed);
        if let Some(doing) = self.stages.get(stage) {
            change(&mut doing.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// What holds the pipeline up after `quiet` in which nothing moved.
    pub fn stall(&self, quiet: Duration) -> Stall {
        let stages = self.lines(0..self.stages.len());
        let busy = |doing: &&Doing| !doing.ended && doing.waits_for.is_none();
        let loads = |doing: &&Doing| doing.waits_for == Some(WaitsFor::Loader);
        let silent = self.silent();
        // A stage of a process that does not answer; one that does not wait; or else one that waits for the loader.
        let culprit = (silent.as_ref().map(|(heard, _)| heard.stages.start))
            .or_else(|| stages.iter().position(|doing| busy(&doing)))
            .or_else(|| stages.iter().position(|doing| loads(&doing)));
        Stall {
            quiet,
            stage: culprit,
            action: culprit.and_then(|stage| stages[stage].action),
            waits_for_the_loader: culprit.is_some_and(|stage| loads(&&stages[stage])),
            silent_rank: silent.map(|(heard, silence)| (heard.rank, silence)),
            grid: grid(&stages),
        }
    }
}

/// Where a stage writes what it does.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    board: Arc<Board>,
    stage: usize,
}

impl Line {
    pub fn new(board: &Arc<Board>, stage: usize) -> Self {
        let board = Arc::clone(board);
        Self { board, stage }
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
        self.board.write(self.stage, change);
    }
}

/// A pipeline in which nothing moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Time in which nothing has moved.
    pub quiet: Duration,
    /// The stage that the others wait for; `None` when every stage waits for another.
    pub stage: Option<usize>,
    /// What that stage is doing.
    pub action: Option<Action>,
    /// Whether it waits for the loader.
    pub waits_for_the_loader: bool,
    /// The process of that stage, where it has not been heard of for some time.
    pub silent_rank: Option<(usize, Duration)>,
    /// A line per stage: its last actions, and what it is doing.
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
        match (self.stage, self.waits_for_the_loader) {
            (Some(stage), true) => write!(f, "stage {stage} waits for the loader")?,
            (Some(stage), false) => write!(f, "the others wait for stage {stage}")?,
            (None, _) => write!(f, "every stage waits for another")?,
        }
        if let Some(action) = self.action {
            write!(f, ", in {action}")?;
        }
        Ok(())
    }
}

fn grid(stages: &[Doing]) -> String {
    let mut grid = String::new();
    for (stage, doing) in stages.iter().enumerate() {
        let _ = write!(grid, "stage {stage}:");
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
            None => " (works)",
        });
        grid.push('\n');
    }
    grid
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
        let board = Arc::new(Board::new(3));
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
        let board = Arc::new(Board::new(2));
        waiting(&board, 0, forward(3), WaitsFor::Loader);
        waiting(&board, 1, forward(2), WaitsFor::Below);
        let stall = board.stall(Duration::from_secs(5)).to_string();
        assert_eq!(
            stall,
            "nothing has moved for 5 s: stage 0 waits for the loader, in F3"
        );
    }
}
