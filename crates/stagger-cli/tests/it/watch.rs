//! `stagger watch`, and `stagger train --tui`.

use crate::support::Bench;

/// A build without the screen says how one with it is made, before anything is read or trained.
#[cfg(not(feature = "tui"))]
#[test]
fn a_build_without_the_screen_says_so() {
    let bench = Bench::new();
    for (command, what) in [
        ("watch nowhere", "stagger watch"),
        ("train --tui --output run", "--tui"),
    ] {
        let output = bench.stagger(command);
        assert_eq!((output.status, output.stdout.as_str()), (2, ""));
        assert_eq!(
            output.stderr,
            format!(
                "error: {what} needs the screen, and this stagger was built without it; build it with `cargo build --release --features tui`\n"
            )
        );
    }
    assert!(!bench.path("run").exists());
}

#[cfg(feature = "tui")]
mod with_the_screen {
    use std::fs;
    use std::io::{Read, Write};
    use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::Bench;
    use crate::support::is_empty;

    const RUN: &str = "--max-batches 60 --batch-size 16 --calibration-batches 0 --evaluate false";
    /// The terminal becomes a screen, and is given back.
    const ENTERS: &str = "\u{1b}[?1049h";
    const LEAVES: &str = "\u{1b}[?1049l";

    /// A terminal of its own, on which the binary runs.
    struct Terminal {
        child: Child,
        keys: ChildStdin,
        out: ChildStdout,
        written: Vec<u8>,
    }

    impl Terminal {
        /// Runs words of the shell, and then the binary in their place. `None` where no terminal can be made, which is said.
        fn start(bench: &Bench, first: &str, arguments: &str) -> Option<Self> {
            let binary = assert_cmd::cargo::cargo_bin("stagger");
            let command = format!("{first} exec '{}' {arguments}", binary.to_str()?);
            let child = Command::new("script")
                .args(["-qec", &command, "/dev/null"])
                .current_dir(&bench.folder)
                .env("TERM", "xterm-256color")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else {
                println!("skipped: `script` is not installed");
                return None;
            };
            Some(Self {
                keys: child.stdin.take()?,
                out: child.stdout.take()?,
                child,
                written: Vec::new(),
            })
        }

        /// Reads until the screen is up, or what runs there has ended.
        fn until_it_is_up(&mut self) {
            while !self.written().contains(ENTERS) && self.read() {}
        }

        /// Whether there is more.
        fn read(&mut self) -> bool {
            let mut part = [0; 4096];
            let count = self.out.read(&mut part).unwrap_or_default();
            self.written.extend_from_slice(&part[..count]);
            count > 0
        }

        fn written(&self) -> String {
            String::from_utf8_lossy(&self.written).into_owned()
        }

        /// The exit status of the binary, and all that it wrote.
        fn end(mut self) -> (i32, String) {
            while self.read() {}
            let status = self.child.wait().expect("it has ended").code();
            (status.expect("no signal ends `script`"), self.written())
        }
    }

    /// Runs the binary on a terminal of its own, and types a key once the screen is up. Gives its
    /// exit status and what it wrote to the terminal.
    fn on_a_terminal(bench: &Bench, arguments: &str, key: Option<&[u8]>) -> Option<(i32, String)> {
        let mut terminal = Terminal::start(bench, "stty rows 24 cols 80;", arguments)?;
        terminal.until_it_is_up();
        if let Some(key) = key {
            terminal.keys.write_all(key).ok()?;
        }
        Some(terminal.end())
    }

    /// The process of the binary, where the shell has written its number.
    fn process(bench: &Bench) -> String {
        let pid = fs::read_to_string(bench.path("pid")).unwrap();
        pid.trim().to_owned()
    }

    /// What was written after the terminal was given back.
    fn after(written: &str) -> &str {
        assert_eq!(written.matches(ENTERS).count(), 1, "{written:?}");
        assert_eq!(written.matches(LEAVES).count(), 1, "{written:?}");
        written.rsplit(LEAVES).next().unwrap_or_default()
    }

    #[test]
    fn a_finished_run_is_printed_without_a_terminal() {
        let bench = Bench::new();
        bench.train("run", RUN);
        let before = fs::read(bench.path("run/metrics.jsonl")).unwrap();
        for arguments in ["watch run", "watch run --once"] {
            let output = bench.stagger(arguments);
            assert_eq!((output.status, output.stderr.as_str()), (0, ""));
            let shown = output.stdout;
            assert!(
                shown.starts_with(" resnet8 on shapes · dsp(1,0;2,0) · 2 stages"),
                "{shown}"
            );
            assert!(
                shown.contains("✓ done") && shown.contains("batch 60 of 60"),
                "{shown}"
            );
            assert!(
                shown.contains("✓ nothing unusual") || shown.contains(" ! "),
                "{shown}"
            );
            assert!(!shown.contains('\u{1b}'), "{shown:?}");
        }
        assert_eq!(fs::read(bench.path("run/metrics.jsonl")).unwrap(), before);
    }

    /// A window that is closed, or a connection that breaks, also where the signal of that is ignored, as under `nohup`.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_terminal_that_goes_away_ends_the_watching() {
        let bench = Bench::new();
        bench.train("run", RUN);
        for trap in ["", "trap '' HUP;"] {
            let first = format!("{trap} echo $$ >pid;");
            let Some(mut terminal) = Terminal::start(&bench, &first, "watch run") else {
                return;
            };
            terminal.until_it_is_up();
            assert!(terminal.written().contains(ENTERS));
            terminal.child.kill().unwrap();
            terminal.child.wait().unwrap();
            drop(terminal);
            let process = format!("/proc/{}", process(&bench));
            let until = Instant::now() + Duration::from_secs(60);
            while fs::exists(&process).unwrap() {
                assert!(
                    Instant::now() < until,
                    "{process} still runs without a terminal"
                );
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// The first asks for a halt, which takes as long as a batch. The second does not wait for it.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_second_signal_gives_the_terminal_back() {
        let bench = Bench::new();
        let run =
            "train --tui --emulate equal:3s --max-batches 60 --calibration-batches 0 --output run";
        let Some(mut terminal) = Terminal::start(&bench, "echo $$ >pid;", run) else {
            return;
        };
        terminal.until_it_is_up();
        for _ in 0..2 {
            let sent = Command::new("kill").arg(process(&bench)).status();
            assert!(sent.unwrap().success());
            thread::sleep(Duration::from_millis(300));
        }
        let (status, written) = terminal.end();
        assert_eq!(status, 130, "{written}");
        // Nothing but the cursor comes back with it.
        assert_eq!(after(&written).trim(), "\u{1b}[?25h", "{written}");
    }

    #[test]
    fn what_is_no_run_is_refused_in_a_sentence() {
        let bench = Bench::new();
        let fifo = Command::new("mkfifo").arg(bench.path("pipe")).status();
        assert!(fifo.unwrap().success());
        fs::create_dir(bench.path("empty")).unwrap();
        for name in ["nowhere", "empty", "pipe", "pipe/below"] {
            for more in ["", " --once"] {
                let output = bench.stagger(&format!("watch {name}{more}"));
                assert_eq!((output.status, output.stdout.as_str()), (2, ""));
                assert_eq!(
                    output.stderr,
                    format!(
                        "error: {name} is no run folder: it has no metrics.jsonl; name the folder of a run that has begun to train\n"
                    )
                );
            }
        }
        for interval in ["0", "x", "1e9"] {
            let output = bench.stagger(&format!("watch nowhere --interval {interval}"));
            assert_eq!(output.status, 2);
            assert!(
                output
                    .stderr
                    .contains("a number of seconds from 0.1 to 3600 is expected")
            );
        }
        assert!(is_empty(&bench.path("empty")));
    }

    /// A run that is watched while it trains has the same numbers, and each picture is whole.
    #[test]
    fn a_run_does_not_feel_that_it_is_watched() {
        let bench = Bench::new();
        bench.train("quiet", RUN);
        let mut pictures = 0;
        thread::scope(|scope| {
            let training = scope.spawn(|| bench.train("watched", RUN));
            while !training.is_finished() {
                let output = bench.stagger("watch watched --once");
                match output.status {
                    0 => {
                        assert!(!output.stdout.contains("no record"), "{}", output.stdout);
                        pictures += 1;
                    }
                    // Before its first line.
                    _ => assert!(
                        output.stderr.contains("is no run folder"),
                        "{}",
                        output.stderr
                    ),
                }
            }
        });
        assert!(pictures > 0);
        assert_eq!(bench.losses("quiet"), bench.losses("watched"));
    }

    #[test]
    fn a_screen_is_needed_to_train_on_one() {
        let bench = Bench::new();
        let output = bench.stagger("train --tui --output run");
        assert_eq!((output.status, output.stdout.as_str()), (2, ""));
        assert!(
            output
                .stderr
                .starts_with("error: --tui draws on a terminal, "),
            "{}",
            output.stderr
        );
        assert_eq!(output.stderr.lines().count(), 1);
        assert!(!bench.path("run").exists());
    }

    #[test]
    fn watching_ends_by_keys_and_gives_the_terminal_back() {
        let bench = Bench::new();
        bench.train("run", RUN);
        for key in [&b"q"[..], b"\x1b", b"\x03"] {
            let Some((status, written)) = on_a_terminal(&bench, "watch run", Some(key)) else {
                return;
            };
            assert_eq!(status, 0, "{written:?}");
            assert_eq!(after(&written).replace("\u{1b}[?25h", "").trim(), "");
        }
        let Some((status, written)) = on_a_terminal(&bench, "watch nowhere", None) else {
            return;
        };
        assert_eq!(status, 2);
        assert!(
            !written.contains(ENTERS) && written.starts_with("error: nowhere is no run"),
            "{written:?}"
        );
    }

    #[test]
    fn a_run_on_the_screen_trains_as_any_and_ends_with_its_lines() {
        let bench = Bench::new();
        bench.train("quiet", RUN);
        let flags = format!("train --tui --eval-batch-size 250 --lr 0.01 --output shown {RUN}");
        let Some((status, written)) = on_a_terminal(&bench, &flags, None) else {
            return;
        };
        assert_eq!(status, 0, "{written:?}");
        let before = written.split(ENTERS).next().unwrap_or_default();
        assert!(before.contains("resnet8 on shapes") && before.contains("run folder: shown"));
        let after = after(&written);
        assert!(
            after.contains("done at version 60") && after.contains("throughput: "),
            "{after:?}"
        );
        assert!(!after.contains("epoch 1/"), "{after:?}");
        let log = fs::read_to_string(bench.path("shown/run.log")).unwrap();
        assert!(log.contains(" epoch 1/") && log.contains("done at version 60"));
        assert_eq!(bench.losses("quiet"), bench.losses("shown"));
    }

    /// As Ctrl-C does without a screen.
    #[test]
    fn a_key_halts_the_run_with_a_snapshot() {
        let bench = Bench::new();
        for (name, key) in [("a", &b"q"[..]), ("b", b"\x03")] {
            let flags = format!(
                "train --tui --batch-size 16 --calibration-batches 0 --evaluate false --lr 0.01 --max-batches 2000 --output {name}"
            );
            let Some((status, written)) = on_a_terminal(&bench, &flags, Some(key)) else {
                return;
            };
            assert_eq!(status, 130, "{written:?}");
            let after = after(&written);
            assert!(after.contains("interrupted at version "), "{after:?}");
            assert!(
                after.contains(&format!("resume with: stagger train --resume {name}")),
                "{after:?}"
            );
            let resumed = bench.stagger(&format!("train --resume {name} --max-seconds 0.2"));
            assert_eq!(resumed.status, 0, "{}", resumed.stderr);
        }
    }
}
