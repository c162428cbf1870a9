//! A pipeline in which nothing moves: the run ends, and names what it waits for.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::support::{ToyFeed, ToyStage, feeds, plan};
use stagger_engine::HostTensor;
use stagger_runtime::{Event, FeedError, Feeds, Inputs, Interrupt, Plan, RunError, Stall, threads};

/// Hangs until the sender is dropped.
#[derive(Clone)]
struct Hang(Arc<Mutex<Receiver<()>>>);

impl Hang {
    fn new() -> (Self, Sender<()>) {
        let (end, wait) = channel();
        (Self(Arc::new(Mutex::new(wait))), end)
    }

    fn wait(&self) {
        let wait = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An error too says that the sender is gone.
        let _ = wait.recv();
    }
}

/// Runs until it stalls, then ends the hang. The stall that was reported.
fn stalled(plan: Plan, feeds: Feeds, end: Sender<()>) -> Stall {
    let plan = Plan {
        stall_timeout: Some(Duration::from_millis(500)),
        ..plan
    };
    let mut told = None;
    let mut end = Some(end);
    let build = ToyStage::build;
    let result = threads::run(&plan, build, feeds, &Interrupt::new(), |event| {
        if let Event::Stalled(stall) = event {
            assert!(told.replace(stall).is_none(), "told twice");
            end = None;
        }
        Ok(())
    });
    let Err(RunError::Stalled(stall)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(told.as_ref(), Some(&*stall));
    *stall
}

#[test]
fn the_stage_that_the_others_wait_for_is_named() {
    let (hang, end) = Hang::new();
    // The last stage is the first to ask for the learning rate of a batch.
    let learning_rate = move |batch| {
        if batch == 5 {
            hang.wait();
        }
        0.1
    };
    let plan = Plan {
        learning_rate: Arc::new(learning_rate),
        ..plan("dsp", 3, 1_000, &[])
    };
    let stall = stalled(plan, feeds(), end);
    assert_eq!((stall.stage, stall.waits_for_the_loader), (Some(2), false));
    let sentence = stall.to_string();
    assert!(
        sentence.contains("the others wait for stage 2"),
        "{sentence}"
    );
    let lines: Vec<&str> = stall.grid.lines().collect();
    assert!(
        lines[0].ends_with("(waits for the stage above)"),
        "{}",
        stall.grid
    );
    assert!(
        lines[1].ends_with("(waits for the stage above)"),
        "{}",
        stall.grid
    );
    assert!(lines[2].ends_with("(works)"), "{}", stall.grid);
}

/// Inputs that hang at a batch.
struct Stuck(usize, Hang);

impl Inputs for Stuck {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        if batch == self.0 {
            self.1.wait();
        }
        Inputs::train(&mut ToyFeed, batch)
    }
    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Inputs::evaluation(&mut ToyFeed, batch)
    }
}

#[test]
fn the_loader_is_named() {
    for (schedule, stages) in [("dsp", 3), ("bp", 1)] {
        let (hang, end) = Hang::new();
        let feeds = Feeds {
            inputs: Box::new(Stuck(7, hang)),
            ..feeds()
        };
        let stall = stalled(plan(schedule, stages, 1_000, &[]), feeds, end);
        assert_eq!((stall.stage, stall.waits_for_the_loader), (Some(0), true));
        let sentence = stall.to_string();
        assert!(
            sentence.contains("stage 0 waits for the loader, in F7"),
            "{sentence}"
        );
    }
}
