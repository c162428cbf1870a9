//! The beginning of a run as a grid of characters: rows are places, columns are stretches of time.

use std::fmt::Write;

use stagger_schedule::{Action, Replicas};

use crate::simulation::Step;

/// A stretch in which the place mostly waits.
const NOTHING: char = '·';

/// Columns between two numbers of the ruler.
const RULER: usize = 20;

/// Draws the steps of a run up to `until` nanoseconds, in so many columns and a row per place: `stage 1`, or `stage 1.0` for the
/// first of several replicas. A column shows what its place does for most of that stretch: F, R, B, L or U for the actions, and a
/// dot for a bubble.
///
/// # Panics
/// When a step is of a place that there is not.
#[must_use]
pub fn grid(steps: &[Step], replicas: &Replicas, columns: usize, until: u64) -> String {
    let places = replicas.places();
    let columns = columns.max(1);
    let slot = until.div_ceil(columns as u64).max(1);
    // What fills most of each stretch, and how much of it.
    let mut cells = vec![vec![(NOTHING, 0_u64); columns]; places];
    let mut idle = vec![vec![slot; columns]; places];
    let stages = 0..replicas.stages();
    let first_places: Vec<usize> = stages.map(|stage| replicas.number(stage, 0)).collect();
    for step in steps {
        let letter = letter(step.action);
        let place = first_places[step.stage] + step.replica;
        let (first, last) = (step.starts_at / slot, step.ends_at.saturating_sub(1) / slot);
        for column in first..=last {
            let Some(cell) = cells[place].get_mut(column as usize) else {
                break;
            };
            let (start, end) = (column * slot, (column + 1) * slot);
            let time = step
                .ends_at
                .min(end)
                .saturating_sub(step.starts_at.max(start));
            let idle = &mut idle[place][column as usize];
            *idle = idle.saturating_sub(time);
            if time > cell.1 {
                *cell = (letter, time);
            }
        }
    }
    let labels: Vec<String> = (0..places).map(|place| label(replicas, place)).collect();
    let label = labels.iter().map(String::len).max().unwrap_or_default();
    let mut text = format!("{:label$}  ", "ms");
    for column in (0..columns).step_by(RULER) {
        let milliseconds = (column as u64 * slot) as f64 / 1e6;
        let number = format!("{}", (milliseconds * 100.0).round() / 100.0);
        let _ = write!(text, "{number:<RULER$}");
    }
    let mut text = text.trim_end().to_owned() + "\n";
    for ((name, cells), idle) in labels.iter().zip(&cells).zip(&idle) {
        let _ = write!(text, "{name:label$}  ");
        text.extend(cells.iter().zip(idle).map(
            |(&(letter, time), &idle)| {
                if time >= idle { letter } else { NOTHING }
            },
        ));
        text.push('\n');
    }
    text
}

fn label(replicas: &Replicas, place: usize) -> String {
    let place = replicas.place(place);
    match place.of {
        1 => format!("stage {}", place.stage),
        _ => format!("stage {}.{}", place.stage, place.replica),
    }
}

fn letter(action: Action) -> char {
    match action {
        Action::Forward { .. } => 'F',
        Action::Recompute { .. } => 'R',
        Action::Backward { .. } => 'B',
        Action::WeightGradients { .. } => 'W',
        Action::Learn { .. } => 'L',
        Action::Update { .. } => 'U',
        Action::Evaluate { .. } => 'E',
        Action::Snapshot { .. } => 'S',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pipeline, Simulation, Times};
    use stagger_schedule::Schedule;

    #[test]
    fn stages_take_turns_or_overlap() {
        let draw = |notation| {
            let schedule = Schedule::parse(notation, Some(2)).unwrap();
            let times = Times::new(&Pipeline::equal(&schedule, 0.012), 1, 0);
            let mut steps = Vec::new();
            let simulation = Simulation {
                schedule: &schedule,
                times: &times,
                batches: 4,
                warmup: 0,
            };
            simulation.run(|step| steps.push(step)).unwrap();
            grid(&steps, times.replicas(), 20, 40_000_000)
        };
        assert_eq!(
            draw("bp"),
            "ms       0\n\
             stage 0  FF······BBBBFF······\n\
             stage 1  ··FFBBBB······FFBBBB\n"
        );
        assert_eq!(
            draw("dsp"),
            "ms       0\n\
             stage 0  FFFFF··RRBBBFFRBBBRR\n\
             stage 1  ·FFFBBBBFFBBBBFFBBBB\n"
        );
    }

    #[test]
    fn nothing_at_all_is_a_grid_of_dots() {
        assert_eq!(
            grid(&[], &Replicas::none(1), 3, 0),
            "ms       0\nstage 0  ···\n"
        );
    }
}
