use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use stagger_runtime::{Acted, Waits};
use stagger_schedule::Action;

use super::*;
use crate::epoch::EpochPlan;

const DOCUMENTED: &str = include_str!("../../../../docs/prometheus.md");

fn server() -> MetricsServer {
    MetricsServer::start("127.0.0.1:0").unwrap()
}

fn tally() -> EpochTally {
    EpochTally::new(EpochPlan {
        batches_per_epoch: 4,
        batches: 8,
        evaluate_at: vec![4, 8],
        emulated: false,
    })
}

/// What a client gets that sends this and then nothing more.
fn ask(server: &MetricsServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The page without its numbers of memory.
fn page(server: &MetricsServer) -> String {
    let answer = ask(server, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let lines = page.lines().filter(|line| !line.contains("memory_bytes"));
    lines.map(|line| line.to_owned() + "\n").collect()
}

fn acted(stage: usize, action: Action, from: u64, waited: u64) -> Event {
    let is_backward = matches!(action, Action::Backward { .. });
    Event::Acted(Acted {
        stage,
        action,
        started_at: Duration::from_secs(from),
        ended_at: Duration::from_secs(from + 4),
        waits: Waits {
            receive: Duration::from_secs(waited),
            ..Waits::default()
        },
        transfer: Duration::ZERO,
        delayed: Duration::ZERO,
        staleness: is_backward.then_some(2),
        gap: is_backward.then_some(0.125),
    })
}

fn trained(batch: usize) -> Event {
    Event::Trained {
        batch,
        samples: 8,
        loss: 1.5,
        correct_top1: 2,
        correct_top5: 5,
        learning_rate: 0.25,
        at: Duration::from_secs(9),
    }
}

/// A first batch on both stages, and a second one on the way.
fn events() -> Vec<Event> {
    let forward = |batch| Action::Forward { batch, micro: 0 };
    let backward = Action::Backward { batch: 0, micro: 0 };
    vec![
        Event::Started { stages: 2 },
        acted(0, forward(0), 0, 0),
        acted(0, forward(1), 4, 1),
        acted(1, forward(0), 4, 3),
        trained(0),
        acted(1, backward, 8, 0),
        acted(1, Action::Update { version: 0 }, 12, 0),
        Event::Evaluated {
            version: 1,
            samples: 10,
            loss: 2.5,
            correct_top1: 4,
            correct_top5: 9,
            at: Duration::from_secs(13),
        },
    ]
}

#[test]
fn the_page_of_a_run() {
    let server = server();
    assert!(!server.is_open_to_others());
    server.describe([
        ("model", "resnet8".to_owned()),
        ("dataset", "my \"cats\"\\\n\u{1b}[2J".to_owned()),
    ]);
    insta::assert_snapshot!(page(&server), @r#"
    # HELP stagger_run_info What runs.
    # TYPE stagger_run_info gauge
    stagger_run_info{model="resnet8",dataset="my \"cats\"\\\\n\\u{1b}[2J"} 1
    "#);
    let mut sink = server.watch().sink(tally());
    for event in events() {
        sink.event(&event).unwrap();
    }
    let page = page(&server);
    for name in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = name.split(' ').next().unwrap();
        assert!(DOCUMENTED.contains(&format!("`{name}`")), "{name}");
    }
    insta::assert_snapshot!("page", page);
}

#[test]
fn counters_go_on_after_a_rollback() {
    let server = server();
    let watch = server.watch();
    for _ in 0..2 {
        let mut sink = watch.sink(tally());
        for event in events() {
            sink.event(&event).unwrap();
        }
        let ended = RunError::Event("the loss is not finite".into());
        sink.finish(Err(&ended)).unwrap();
    }
    let page = page(&server);
    for line in [
        "stagger_rollbacks_total 1",
        "stagger_batches_trained_total 2",
        "stagger_samples_correct_total 4",
        "stagger_stage_seconds_total{stage=\"1\",activity=\"forward\"} 2",
        "stagger_stage_seconds_total{stage=\"1\",activity=\"wait_receive\"} 6",
        "stagger_weights_version 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn an_emulated_run_has_no_scores() {
    let server = server();
    let plan = EpochPlan {
        emulated: true,
        ..tally().plan().clone()
    };
    let mut sink = server.watch().sink(EpochTally::new(plan));
    for event in events() {
        sink.event(&event).unwrap();
    }
    let page = page(&server);
    assert!(page.contains("stagger_weights_version 1\n"), "{page}");
    let scores = ["_loss ", "_accuracy_ratio "];
    let has_scores = scores.iter().any(|score| page.contains(score));
    assert!(!has_scores, "{page}");
}

/// Those that send nothing, or not the end of a request, do not keep others from the page for ever.
#[test]
fn clients_that_misbehave_are_no_trouble() {
    let server = server();
    let connect = || TcpStream::connect(server.address()).unwrap();
    let silent = connect();
    let mut half = connect();
    half.write_all(b"GET /metr").unwrap();
    let mut closed = connect();
    closed.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    closed.shutdown(Shutdown::Both).unwrap();
    drop(closed);
    // There is nothing on it yet.
    assert_eq!(page(&server), "");
    drop((silent, half));
    for (request, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n\n"[..], "400"),
        (
            b"POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
            "405",
        ),
        (b"GET /favicon.ico HTTP/1.1\r\n\r\n", "404"),
        (b"GET /metrics HTTP/1.0\r\n\r\n", "200"),
    ] {
        let answer = ask(&server, request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    // All of it can be sent, and the refusal is seen.
    let huge = format!("GET /metrics HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(60_000));
    let answer = ask(&server, huge.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let head = ask(&server, b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn it_ends_when_it_is_dropped() {
    let server = server();
    let address = server.address();
    // A connection that is served, and one that waits behind it.
    let served = TcpStream::connect(address).unwrap();
    let waiting = TcpStream::connect(address).unwrap();
    drop(server);
    drop((served, waiting));
    let again = MetricsServer::start(&address.to_string()).unwrap();
    assert_eq!(again.address(), address);
}

#[test]
fn addresses_that_cannot_be_listened_at_are_refused() {
    let server = server();
    let taken = server.address().to_string();
    let error = MetricsServer::start(&taken).unwrap_err().to_string();
    let expected = format!("cannot listen at {taken} for requests of metrics: ");
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.ends_with("; name another port"), "{error}");
    let error = MetricsServer::start("9100\u{1b}").unwrap_err().to_string();
    assert_eq!(
        error,
        "`9100\\u{1b}` is no address to listen at; give HOST:PORT, such as 127.0.0.1:9100"
    );
    // Reserved for documentation: no host has it.
    let error = MetricsServer::start("192.0.2.1:0").unwrap_err().to_string();
    assert!(error.ends_with("; name an address of this host"), "{error}");
}
