//! How ranks are started: each in the same way, by the launcher that is nearest.

use super::{scripted, stagger};
use crate::support::Bench;

const SMALL: &str = "train --batch-size 8 --max-batches 2 --eval-batch-size 250 --calibration-batches 0 --output run";

#[test]
fn a_rank_with_another_command_line_is_refused() {
    let bench = Bench::new();
    for (others, sentence) in [
        (
            "train --model nonsense --config /nowhere.toml --lr -3",
            "was started with --model where rank 0 has --batch-size;",
        ),
        (
            &*SMALL.replace("run", "other"),
            "was started with --output other where rank 0 has --output run;",
        ),
        (
            "profile --rounds 1",
            "runs stagger profile, and rank 0 stagger train;",
        ),
    ] {
        let script =
            format!("WORDS='{SMALL}'; [ $RANK = 1 ] && WORDS='{others}'; exec $STAGGER $WORDS");
        let output = scripted(&bench, 2, &script);
        let said = output.stderr;
        assert_eq!(output.status, 2, "{said}");
        assert!(said.contains("error: rank 1 on "), "{said}");
        assert!(said.contains(sentence), "{said}");
        assert_eq!(said.matches("error:").count(), 1, "{said}");
        assert!(!bench.path("run").exists() && !bench.path("other").exists());
    }
}

#[test]
fn the_nearest_launcher_says_how_many_there_are() {
    let bench = Bench::new();
    let script = format!("export SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0; exec $STAGGER {SMALL}");
    let output = scripted(&bench, 2, &script);
    assert_eq!(output.status, 0, "{}", output.stderr);
}

#[test]
fn a_launcher_of_another_mpi_is_told_once() {
    let bench = Bench::new();
    let script = format!("export OMPI_COMM_WORLD_SIZE=4; exec $STAGGER {SMALL}");
    let output = scripted(&bench, 3, &script);
    let said = output.stderr;
    assert_eq!(output.status, 2, "{said}");
    assert_eq!(said.matches("error:").count(), 1, "{said}");
    let sentence = "error: OMPI_COMM_WORLD_SIZE says that 4 processes were started together, and MPI connects 3: either that variable";
    assert!(said.contains(sentence), "{said}");
    assert!(said.contains("start it with the mpirun"), "{said}");
    assert!(!said.contains("\\u"), "{said}");
}

/// Scripts say `-n $N`.
#[test]
fn one_process_may_be_started_as_several_are() {
    let bench = Bench::new();
    for command in [
        SMALL,
        "profile --rounds 1 --batches 2 --warmup 0 --batch-size 4",
    ] {
        let output = stagger(&bench, 1, &format!("{command} --rank-timeout 3"));
        assert_eq!(output.status, 0, "{}", output.stderr);
    }
}

/// Open MPI shows ranks a terminal, wherever its own output goes.
#[test]
fn help_has_no_colors_under_a_launcher() {
    let bench = Bench::new();
    for ranks in [1, 2] {
        let output = stagger(&bench, ranks, "train --help");
        assert_eq!(output.status, 0, "{}", output.stderr);
        assert!(output.stdout.contains("--max-batches"), "{}", output.stdout);
        assert!(!output.stdout.contains('\u{1b}'), "{}", output.stdout);
    }
}
