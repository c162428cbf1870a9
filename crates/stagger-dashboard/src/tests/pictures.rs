//! Pictures of runs.

use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use stagger_report::Record;

use crate::fixtures::{batch, end, facts, records, seen};
use crate::text::lines;
use crate::{Moment, Palette, RunSeen, draw, text};

const EVEN: [f64; 3] = [0.93, 0.99, 0.97];

fn moment(silence: u64) -> Moment<'static> {
    Moment {
        silence: Duration::from_secs(silence),
        keys: "q or Esc: leave; the run goes on",
        palette: Palette::PLAIN,
    }
}

fn picture(seen: &RunSeen, silence: u64, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let moment = moment(silence);
    let _ = terminal.draw(|frame| draw(frame, seen, &moment)).unwrap();
    lines(terminal.backend().buffer())
}

#[test]
fn a_run_on_a_small_terminal() {
    let seen = seen(&records(237, &EVEN));
    insta::assert_snapshot!(picture(&seen, 1, 80, 24));
}

#[test]
fn a_run_on_a_large_terminal() {
    let seen = seen(&records(237, &EVEN));
    insta::assert_snapshot!(picture(&seen, 1, 120, 40));
}

#[test]
fn a_run_that_has_just_begun() {
    insta::assert_snapshot!(picture(&seen(&records(0, &EVEN)), 0, 80, 24));
}

#[test]
fn a_run_with_everything_that_can_be_unusual() {
    let mut records = records(237, &[0.31, 0.98, 0.40]);
    for index in 237..250 {
        let mut high = batch(index);
        high.loss *= 9.0;
        records.push(Record::Batch(high));
    }
    let mut seen = seen(&records);
    (seen.skipped, seen.last_skipped) = (3, Some(200));
    seen.rollback = Some(crate::seen::Rollback {
        version: 100,
        times: 2,
        rate_factor: Some(0.25),
    });
    insta::assert_snapshot!(picture(&seen, 250, 80, 24));
}

#[test]
fn a_run_that_failed_as_text() {
    let mut records = records(200, &EVEN);
    let error = "stage 1 failed in Backward 200: a\nerror: \u{1b}[2J\u{202e}gone";
    records.push(end(200, Some(error)));
    let moment = Moment {
        keys: "",
        ..moment(0)
    };
    insta::assert_snapshot!(text(&seen(&records), &moment, 80));
}

#[test]
fn many_stages_on_a_small_terminal() {
    let busy: Vec<f64> = (0..32).map(|at| 0.6 + 0.01 * f64::from(at)).collect();
    let shown = picture(&seen(&records(237, &busy)), 1, 80, 24);
    assert!(shown.contains("more stages, busy"), "{shown}");
    assert!(shown.contains("loss"), "{shown}");
    // As text there is room for all.
    let all = text(&seen(&records(237, &busy)), &moment(1), 80);
    assert!(all.contains("\n    31  "), "{all}");
}

/// What a stranger has written neither moves the cursor nor hides what follows.
#[test]
fn names_are_shown_without_control_characters() {
    let mut seen = RunSeen::default();
    let mut facts = facts(2);
    for name in ["model", "dataset", "schedule", "engine"] {
        facts.insert(name.to_owned(), "a\u{1b}[2J\n\u{202e}b".into());
    }
    seen.describe(&facts);
    let shown = picture(&seen, 0, 200, 30);
    assert!(
        shown.contains(r"a\u{1b}[2J\n\u{202e}b on a\u{1b}"),
        "{shown}"
    );
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!shown.contains(bad), "{shown:?}");
}

/// An emulated run has no accuracies.
#[test]
fn an_emulated_run_has_learned_nothing() {
    let mut records = records(120, &EVEN);
    if let Some(Record::Run(run)) = records.first_mut() {
        run.facts.insert("emulated".to_owned(), "equal:1ms".into());
    }
    let shown = picture(&seen(&records), 1, 80, 24);
    assert!(shown.contains("emulated: nothing is learned"), "{shown}");
    assert!(
        !shown.contains("accuracy") && shown.contains("images/s"),
        "{shown}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any numbers on a screen of any size.
    #[test]
    fn nothing_that_is_read_breaks_the_picture(
        columns in 1..140_u16,
        rows in 1..50_u16,
        stages in 0..40_usize,
        numbers in prop::collection::vec((any::<usize>(), any::<f64>(), any::<f32>(), any::<u64>()), 0..20),
    ) {
        let busy: Vec<f64> = numbers.iter().map(|number| number.1).cycle().take(stages).collect();
        let busy = if numbers.is_empty() { vec![0.5; stages] } else { busy };
        let mut records = vec![crate::fixtures::run(stages)];
        for &(at, number, loss, nanos) in &numbers {
            let mut record = batch(1);
            (record.batch, record.epoch, record.samples) = (at, at / 3, at % 100);
            (record.loss, record.top1, record.lr) = (loss, number, number);
            record.at = Duration::from_nanos(nanos);
            records.push(Record::Batch(record));
            let mut epoch = crate::fixtures::epoch(1, &[0.5]);
            epoch.version = at;
            epoch.test_top1 = Some(number);
            epoch.stages = busy.iter().map(|share| stagger_report::StageSummary {
                busy_share: *share,
                staleness_mean: number,
                ..Default::default()
            }).collect();
            records.push(Record::Epoch(epoch));
        }
        let seen = seen(&records);
        let shown = picture(&seen, 3, columns, rows);
        prop_assert_eq!(shown.lines().count(), usize::from(rows));
        prop_assert!(!text(&seen, &moment(1), columns).is_empty());
    }
}
