//! What people see.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use stagger_report::{Console, Sink};
use stagger_runtime::RunError;

use crate::stream::Run;

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn shown(run: &Run) -> String {
    let screen = Screen::default();
    run.feed(&mut Console::new(screen.clone(), run.tally()));
    screen.text()
}

#[test]
fn a_line_per_epoch() {
    insta::assert_snapshot!(shown(&Run::dsp()), @r"
    epoch 1/2 · loss  1.500 · train  15.0 % · test  50.0 % (top-5  99.0 %) · lr 0.0250 ·   1667 images/s · busy 100 %  83 % · bubble   8 % · staleness 1.2 0
    epoch 2/2 · loss  5.500 · train  55.0 % · test  50.0 % (top-5  99.0 %) · lr 0.0125 ·   1667 images/s · busy 100 %  83 % · bubble   8 % · staleness 2 0
    ");
}

#[test]
fn an_interrupted_run_says_so_and_shows_its_last_epoch() {
    insta::assert_snapshot!(shown(&Run { interrupted_at: Some(6), ..Run::dsp() }), @r"
    halting at version 6
    epoch 1/2 · loss  1.500 · train  15.0 % · test  50.0 % (top-5  99.0 %) · lr 0.0250 ·   1667 images/s · busy 100 %  83 % · bubble   8 % · staleness 1.2 0
    epoch 2/2 · loss  4.500 · train  45.0 % · test     –                   · lr 0.0167 ·   1667 images/s · busy 100 %  83 % · bubble   8 % · staleness 2 0
    ");
}

#[test]
fn a_failed_run_shows_what_was_trained() {
    let screen = Screen::default();
    let run = Run::dsp();
    let mut console = Console::new(screen.clone(), run.tally());
    let events = run.events();
    for event in &events[..events.len() / 4] {
        console.event(event).unwrap();
    }
    assert_eq!(screen.text(), "");
    console
        .finish(Err(&RunError::Event("broken".into())))
        .unwrap();
    assert!(
        screen.text().starts_with("epoch 1/2 · "),
        "{}",
        screen.text()
    );
}
