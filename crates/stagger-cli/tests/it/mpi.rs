//! Rung 9 of the ladder (docs/algorithm.md, "The ladder of correctness"): processes that `mpirun` connects give the bits of one, and
//! no process outlives a rank that is killed.

mod disks;
mod launchers;
mod rollbacks;

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use stagger::schedule::Schedule;

use crate::support::{Bench, Output};

/// `mpirun` for so many ranks on this machine, however few cores it has; what each of them runs is still to be said.
fn launcher(bench: &Bench, ranks: usize) -> Command {
    let mut command = Command::new("mpirun");
    command
        .current_dir(&bench.folder)
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        // docs/processes.md, "What goes wrong": mpirun may hang where a rank is killed early.
        .env("PMIX_MCA_gds", "hash")
        .args(["--oversubscribe", "--bind-to", "none", "-n"])
        .arg(ranks.to_string())
        .stdin(Stdio::null());
    command
}

fn mpirun(bench: &Bench, ranks: usize, arguments: &str) -> Command {
    let mut command = launcher(bench, ranks);
    command
        .arg(assert_cmd::cargo::cargo_bin("stagger"))
        .args(arguments.split_whitespace());
    command
}

pub fn stagger(bench: &Bench, ranks: usize, arguments: &str) -> Output {
    ended(mpirun(bench, ranks, arguments).output())
}

fn ended(output: std::io::Result<std::process::Output>) -> Output {
    let output = output.expect("mpirun");
    Output {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// After this a job that does not end is taken to hang. Ends wait for the disk, which other tests use too.
const HANG: Duration = Duration::from_secs(120);

const SMALL: &str = "--eval-batch-size 250 --calibration-batches 0 --lr 0.01";

/// Trains a few batches over ranks and in one process, and compares what is left.
fn agrees(bench: &Bench, method: &str, stages: usize, ranks: usize) {
    agrees_with(bench, method, (stages, ranks), "");
}

/// The same with replicas, `--replicas …`.
fn agrees_with(bench: &Bench, method: &str, (stages, ranks): (usize, usize), replicas: &str) {
    let method = &method.replace(' ', "");
    // Enough for two samples in each of two replicas' shares of four micro-batches.
    let batch_size = if replicas.is_empty() { 8 } else { 16 };
    let run = |name: &str, stages: &str| {
        format!(
            "train {SMALL} --batch-size {batch_size} --max-batches 6 --snapshot-every 3 {stages} {replicas} --schedule {method} --output {name}"
        )
    };
    let stages_flag = format!("--stages {stages}");
    // Ranks are stages where nothing else is asked for.
    let asked = if stages == ranks && replicas.is_empty() {
        ""
    } else {
        &stages_flag
    };
    let shared = stagger(bench, ranks, &run("ranks", asked));
    assert_eq!(shared.status, 0, "{method}: {}", shared.stderr);
    let alone = bench.stagger(&run("alone", &stages_flag));
    assert_eq!(alone.status, 0, "{method}: {}", alone.stderr);
    assert!(
        bench.weights("ranks") == bench.weights("alone"),
        "{method}, {stages} stages on {ranks} ranks: weights"
    );
    assert_eq!(bench.losses("ranks"), bench.losses("alone"), "{method}");
    let snapshot = |run: &str, stage: usize| {
        let file = format!("{run}/snapshots/v00000003/stage-{stage}.safetensors");
        fs::read(bench.path(&file)).expect("a snapshot")
    };
    for stage in 0..stages {
        assert!(
            snapshot("ranks", stage) == snapshot("alone", stage),
            "{method}: snapshot of stage {stage}"
        );
    }
    for run in ["ranks", "alone"] {
        fs::remove_dir_all(bench.path(run)).expect("a run folder");
    }
}

#[test]
fn every_method_gives_the_bits_of_one_process() {
    let bench = Bench::new();
    let shapes = [(2, 2), (3, 3), (4, 4), (4, 2), (3, 2)];
    for (method, (stages, ranks)) in Schedule::examples(None).iter().zip(shapes.iter().cycle()) {
        // A method that fixes its number of stages is for the long test.
        if Schedule::parse(method, Some(*stages)).is_ok() {
            agrees(&bench, method, *stages, *ranks);
        }
    }
}

#[test]
fn replicas_give_the_bits_of_one_process() {
    let bench = Bench::new();
    agrees_with(&bench, "dp(2)", (1, 2), "");
    agrees_with(&bench, "dsp", (2, 4), "--replicas 2");
    agrees_with(&bench, "gpipe(2)", (3, 2), "--replicas 2,1,1");
    agrees_with(&bench, "dsp", (2, 4), "--replicas 2 --sync-batch-norm");
}

#[test]
#[ignore = "long: .ci/nightly"]
fn every_method_gives_the_bits_of_one_process_on_any_number_of_ranks() {
    let bench = Bench::new();
    for stages in 1..=4 {
        for method in Schedule::examples(Some(stages)) {
            for ranks in 2..=stages {
                agrees(&bench, &method, stages, ranks);
            }
            if !method.starts_with("dni") && !method.starts_with("dp") {
                agrees_with(&bench, &method, (stages, stages + 1), "--replicas 2");
            }
        }
    }
}

#[test]
fn what_is_wrong_is_said_once_and_ends_all_ranks() {
    let bench = Bench::new();
    for (arguments, sentence) in [
        (
            "train --stages 2 --max-batches 2",
            "error: 2 stages cannot be shared out over 3 processes: start 2 of them, or ask for at least 3 stages",
        ),
        ("train --schedule nonsense", "nonsense"),
        ("train --modle resnet8", "--modle"),
        (
            "profile --rounds 0",
            "error: --rounds is 0; give a whole number of at least 1",
        ),
        ("profile --input nonsense", "--input"),
        (
            "profile --stages 2 --rounds 1",
            "error: 2 stages cannot be shared out over 3 processes: start 2 of them, or ask for at least 3 stages",
        ),
        ("train --config missing.toml", "missing.toml"),
        (
            "train --transport bytes",
            "error: transport bytes connects stages of one process, and this run has 3 processes; leave it out",
        ),
        (
            "train --transport tcp",
            "error: --transport `tcp` is no choice; use `threads`",
        ),
        (
            "summary resnet8",
            "only stagger train and stagger profile run in several processes",
        ),
    ] {
        let output = stagger(&bench, 3, arguments);
        assert_eq!(output.status, 2, "{arguments}: {}", output.stderr);
        assert!(output.stderr.contains(sentence), "{}", output.stderr);
        let times = output.stderr.matches("error:").count();
        assert_eq!(times, 1, "{}", output.stderr);
        assert!(!bench.path("runs").exists());
    }
}

/// Each rank through a script of its own, `$RANK` and `$STAGGER` set.
fn scripted(bench: &Bench, ranks: usize, script: &str) -> Output {
    let script = format!("RANK=$OMPI_COMM_WORLD_RANK STAGGER=$0; {script}");
    let mut command = launcher(bench, ranks);
    command
        .args(["sh", "-c", &script])
        .arg(assert_cmd::cargo::cargo_bin("stagger"));
    ended(command.output())
}

#[test]
fn a_late_rank_0_still_says_what_is_wrong() {
    let bench = Bench::new();
    for wrong in ["train --modle resnet8", "summary resnet8"] {
        let late = format!("[ $RANK = 0 ] && sleep 1; exec $STAGGER {wrong}");
        let output = scripted(&bench, 2, &late);
        assert_eq!(output.status, 2, "{wrong}: {}", output.stderr);
        let times = output.stderr.matches("error:").count();
        assert_eq!(times, 1, "{}", output.stderr);
        assert!(!output.stderr.contains("rank 1:"), "{}", output.stderr);
    }
}

#[test]
fn a_rank_whose_flags_alone_are_wrong_says_so() {
    let bench = Bench::new();
    let output = scripted(
        &bench,
        2,
        "MODEL=--model; [ $RANK = 1 ] && MODEL=--modle; exec $STAGGER train $MODEL resnet8",
    );
    assert_ne!(output.status, 0, "{}", output.stderr);
    assert!(output.stderr.contains("rank 1:"), "{}", output.stderr);
    assert!(output.stderr.contains("--modle"), "{}", output.stderr);
}

#[test]
fn a_run_that_diverges_fails_with_its_own_sentence() {
    let bench = Bench::new();
    let run = "train --batch-size 8 --max-batches 40 --calibration-batches 0 --lr 1e9 --warmup-batches 0 --output run";
    let output = stagger(&bench, 2, run);
    assert_eq!(output.status, 1, "{}", output.stderr);
    assert!(output.stderr.contains("the loss is"), "{}", output.stderr);
}

/// The processes of a run, by rank.
fn rank_process(mpirun: &Child, rank: usize) -> Option<u32> {
    let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
    let parent = format!("{}", mpirun.id());
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let fields = stat.rsplit(") ").next().unwrap_or_default().to_owned();
        let is_child = fields.split(' ').nth(1) == Some(parent.as_str());
        let environment = read("environ");
        let mut variables = environment.split(|&byte| byte == 0);
        if is_child && variables.any(|variable| variable == wanted.as_bytes()) {
            return Some(id);
        }
    }
    None
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(status.expect("kill").success());
}

/// Waits until the run has a snapshot.
fn wait_for_snapshot(bench: &Bench, child: &mut Child) {
    let until = Instant::now() + Duration::from_secs(120);
    let has_snapshot = || {
        let folder = fs::read_dir(bench.path("run/snapshots"));
        folder.is_ok_and(|mut entries| {
            entries
                .any(|entry| entry.is_ok_and(|entry| entry.path().join("manifest.json").exists()))
        })
    };
    while !has_snapshot() {
        assert!(Instant::now() < until, "no snapshot");
        assert!(child.try_wait().expect("a child").is_none(), "it has ended");
        sleep(Duration::from_millis(20));
    }
}

/// Waits for the end of `mpirun`: its status, and what it said. No rank may be left.
fn end_of(mut child: Child, ranks: &[u32]) -> (Option<i32>, String) {
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(begun.elapsed() < HANG, "it does not end");
        sleep(Duration::from_millis(10));
    };
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).expect("text");
    }
    for rank in ranks {
        let left = || {
            let stat = fs::read_to_string(format!("/proc/{rank}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z")
        };
        let until = Instant::now() + Duration::from_secs(5);
        while left() && Instant::now() < until {
            sleep(Duration::from_millis(10));
        }
        assert!(!left(), "rank process {rank} is left");
    }
    (status.code(), said)
}

const KILLED: &str = "train --schedule dsp --batch-size 8 --max-batches 60 --eval-batch-size 250 --calibration-batches 0 \
                      --lr 0.01 --snapshot-every 4 --output run";

/// What three ranks are: stages, or replicas of them.
const STAGES: &str = "--stages 3";
const REPLICAS: &str = "--stages 2 --replicas 1,2";

fn start(bench: &Bench, arguments: &str) -> (Child, Vec<u32>) {
    let child = mpirun(bench, 3, arguments)
        .arg("--resume")
        .arg("auto")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mpirun");
    let ranks = processes(&child);
    (child, ranks)
}

/// The processes of three ranks, once they are there.
fn processes(child: &Child) -> Vec<u32> {
    let until = Instant::now() + Duration::from_secs(60);
    let wait = |rank| {
        loop {
            if let Some(process) = rank_process(child, rank) {
                return process;
            }
            assert!(Instant::now() < until, "rank {rank} does not start");
            sleep(Duration::from_millis(5));
        }
    };
    (0..3).map(wait).collect()
}

/// How many ranks are killed in a run of how many batches.
struct Kills {
    kills: usize,
    batches: usize,
}

/// Whether a snapshot is being written, or was left unfinished, since then.
fn is_writing(bench: &Bench, since: SystemTime) -> bool {
    let entries = fs::read_dir(bench.path("run/snapshots"));
    let is_of_now = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        name.to_string_lossy().ends_with(".partial") && changed.is_ok_and(|changed| changed > since)
    };
    entries.is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(is_of_now)))
}

/// Kills one rank after the other, at any time from the start and, every second time, while a snapshot is written. Gives how many of
/// these left it unfinished.
fn loses_nothing(parts: &str, Kills { kills, batches }: Kills) -> usize {
    let bench = Bench::new();
    let run = KILLED.replace("--max-batches 60", &format!("--max-batches {batches}"));
    let run = format!("{run} {parts}");
    let whole = bench.stagger(&run.replace("--output run", "--output whole"));
    assert_eq!(whole.status, 0, "{}", whole.stderr);
    let mut moment = 0x2545_f491_4f6c_dd1d_u64;
    let mut unfinished = 0;
    for kill in 0..kills {
        let begun = SystemTime::now();
        let (mut child, ranks) = start(&bench, &run);
        if kill == 0 {
            wait_for_snapshot(&bench, &mut child);
        }
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        sleep(Duration::from_millis((moment >> 33) % 700));
        let is_aimed = kill % 2 == 1;
        let mut has_ended = || child.try_wait().expect("a child").is_some();
        while is_aimed && !is_writing(&bench, begun) && !has_ended() {
            sleep(Duration::from_micros(200));
        }
        let has_ended = has_ended();
        assert!(!has_ended, "it has ended before kill {kill}");
        signal(ranks[kill % 3], "KILL");
        let (status, said) = end_of(child, &ranks);
        assert_ne!(status, Some(0), "{said}");
        assert!(said.contains(&format!("rank {}", kill % 3)), "{said}");
        unfinished += usize::from(is_aimed && is_writing(&bench, begun));
    }
    let (child, _) = start(&bench, &run);
    let output = child.wait_with_output().expect("mpirun");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(bench.weights("run") == bench.weights("whole"), "weights");
    assert_eq!(bench.losses("run"), bench.losses("whole"));
    unfinished
}

#[test]
fn a_rank_that_is_killed_ends_the_job_and_the_run_resumes_to_the_bit() {
    let (kills, batches) = (3, 60);
    loses_nothing(STAGES, Kills { kills, batches });
}

#[test]
fn a_replica_that_is_killed_ends_the_job_and_the_run_resumes_to_the_bit() {
    let (kills, batches) = (2, 60);
    loses_nothing(REPLICAS, Kills { kills, batches });
}

#[test]
#[ignore = "long: .ci/nightly"]
fn forty_killed_ranks_lose_nothing() {
    let kills = |kills| Kills {
        kills,
        batches: 12 * kills,
    };
    let unfinished = loses_nothing(STAGES, kills(40)) + loses_nothing(REPLICAS, kills(20));
    assert!(
        unfinished > 0,
        "no kill hit a snapshot that was being written"
    );
}

#[test]
fn a_rank_that_is_asked_to_end_halts_all_and_the_run_resumes() {
    let bench = Bench::new();
    let run = format!("{KILLED} {STAGES}");
    let (mut child, ranks) = start(&bench, &run);
    wait_for_snapshot(&bench, &mut child);
    signal(ranks[1], "TERM");
    let (status, said) = end_of(child, &ranks);
    assert_eq!(status, Some(130), "{said}");
    let (child, _) = start(&bench, &run);
    assert!(child.wait_with_output().expect("mpirun").status.success());
    let whole = bench.stagger(&KILLED.replace("--output run", "--stages 3 --output whole"));
    assert_eq!(whole.status, 0, "{}", whole.stderr);
    assert!(bench.weights("run") == bench.weights("whole"), "weights");
}

/// A rank that is stopped is named, and the job ends: `stopped` of three ranks. Gives what was said.
fn hangs(flags: &str, stopped: usize) -> String {
    let bench = Bench::new();
    let endless = KILLED.replace("--max-batches 60", "--max-batches 100000");
    let mut child = mpirun(&bench, 3, &format!("{endless} {flags}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mpirun");
    let ranks = processes(&child);
    wait_for_snapshot(&bench, &mut child);
    signal(ranks[stopped], "STOP");
    let (status, said) = end_of(child, &ranks);
    assert_ne!(status, Some(0), "{said}");
    said
}

#[test]
fn the_stall_watch_names_a_rank_that_hangs() {
    let said = hangs("--stall-timeout 4 --rank-timeout 0", 2);
    assert!(said.contains("rank 2 has not been heard of"), "{said}");
}

#[test]
fn a_rank_that_hangs_is_named() {
    let silent = "has not been heard of for 3 s";
    let said = hangs("--rank-timeout 3", 1);
    assert!(said.contains("error: rank 1 on host "), "{said}");
    assert!(said.contains(silent), "{said}");
    let advice = "all ranks end; where the run has a snapshot, --resume auto goes on from it";
    assert!(said.contains(advice), "{said}");
    // The others tell of rank 0, which cannot.
    let said = hangs("--rank-timeout 3", 0);
    let tells = |rank: usize| said.contains(&format!("error: rank {rank}: rank 0 on host "));
    assert!(tells(1) || tells(2), "{said}");
    assert!(said.contains(silent), "{said}");
}

#[test]
fn a_rank_timeout_is_a_number_for_several_processes() {
    let bench = Bench::new();
    let alone = bench.stagger("train --rank-timeout 5");
    let sentence =
        "--rank-timeout is for a run over several processes, which mpirun starts; leave it out";
    assert_eq!(alone.status, 2, "{}", alone.stderr);
    assert!(alone.stderr.contains(sentence), "{}", alone.stderr);
    for wrong in ["-1", "soon", "1e300", "NaN"] {
        let output = bench.stagger(&format!("train --rank-timeout={wrong}"));
        assert_eq!(output.status, 2, "{}", output.stderr);
        let sentence = "a number of seconds is expected, or 0";
        assert!(output.stderr.contains(sentence), "{}", output.stderr);
    }
    assert!(!bench.path("runs").exists());
}
