//! A method of one's own: a struct that implements `Method`. Program, facts and explanation follow from it.
//!
//! ```text
//! stage 0: staleness 3, 4 copies of the weights
//! stage 1: staleness 0, 1 copies of the weights
//! resnet8 on shapes, eager: version 80, loss 1.879, test 40.4 % (best 40.4 % at version 80), 749 images/s
//! ```

use std::sync::Arc;

use stagger::Training;
use stagger::schedule::{Facts, Method, Schedule, StagePolicy, delayed_policy};

/// Every stage is three batches ahead of the one above, and keeps its graphs with the weights of the forward pass.
#[derive(Debug)]
struct Eager {
    stages: usize,
}

impl Method for Eager {
    fn name(&self) -> &'static str {
        "eager"
    }

    fn title(&self) -> &'static str {
        "Three batches ahead"
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, stage: usize) -> usize {
        3 * (self.stages - 1 - stage)
    }

    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        delayed_policy(self, stage, micro_batches).stashed()
    }

    fn meaning(&self) -> String {
        "A stage never waits for the one above.".to_owned()
    }
}

fn main() -> Result<(), stagger::Error> {
    let method: Arc<dyn Method> = Arc::new(Eager { stages: 2 });
    let facts = Facts::of(&Schedule::from(Arc::clone(&method)));
    for (stage, facts) in facts.stages.iter().enumerate() {
        println!(
            "stage {stage}: staleness {}, {} copies of the weights",
            facts.staleness, facts.weight_copies
        );
    }
    let training = Training::new().schedule(method).learning_rate(0.05);
    println!("{}", training.max_batches(80).run()?);
    Ok(())
}
