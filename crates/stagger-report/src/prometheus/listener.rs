//! A thread that answers connections, one at a time.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::http;

/// How long a request may take to come, and as long again its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long is waited for the end of what else a client sends, so that it gets to see its answer.
const LINGER: Duration = Duration::from_millis(200);
/// How much of that is read.
const MOST_LINGERING_BYTES: usize = 256 << 10;
/// Between two attempts when the system gives no connection, as it has no file left.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether this is `HOST:PORT`, where an IPv6 address is in brackets.
pub(super) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let host_fits = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => {
            let is_of_names =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(is_of_names)
        }
    };
    is_port && host_fits
}

/// Answers until it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    ends: AtomicBool,
    /// The connection that is served.
    served: Mutex<Option<TcpStream>>,
}

impl State {
    fn served(&self) -> MutexGuard<'_, Option<TcpStream>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::SeqCst)
    }
}

impl Listener {
    /// Begins to answer; `page` makes the page.
    ///
    /// # Errors
    /// When the system has no thread left, or does not say where it listens.
    pub fn start(
        socket: TcpListener,
        page: impl Fn() -> String + Send + 'static,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new().name("metrics".to_owned());
        let thread = thread.spawn(move || listen(&socket, &shared, page))?;
        Ok(Self {
            address,
            state,
            thread: Some(thread),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::SeqCst);
        if let Some(served) = self.state.served().take() {
            // Its end wakes the thread up.
            let _ = served.shutdown(Shutdown::Both);
        }
        // The thread waits for a connection: this is one.
        let mut here = self.address;
        if here.ip().is_unspecified() {
            here.set_ip(match here {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        let woken = TcpStream::connect_timeout(&here, PATIENCE);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            // Where it could not be woken, it ends with the process.
            let _ = thread.join();
        }
    }
}

fn listen(socket: &TcpListener, state: &State, page: impl Fn() -> String) {
    while !state.ends() {
        match socket.accept() {
            Ok((stream, _)) => {
                *state.served() = stream.try_clone().ok();
                // Clients come and go; what becomes of an answer is theirs to notice.
                if !state.ends() {
                    let _ = serve(stream, &page);
                }
                *state.served() = None;
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Takes a request and answers it.
fn serve(stream: TcpStream, page: impl Fn() -> String) -> io::Result<()> {
    let mut timed = Timed::until(stream, PATIENCE);
    let head = http::read_head(&mut timed)?;
    let answer = http::answer(head.as_deref(), page);
    let mut timed = Timed::until(timed.stream, PATIENCE);
    timed.write_all(&answer)?;
    // A connection that is closed while something is still to be read is reset, and the answer may be lost with that.
    timed.stream.shutdown(Shutdown::Write)?;
    let mut timed = Timed::until(timed.stream, LINGER);
    let mut piece = [0; 4096];
    let mut read = 0;
    while read < MOST_LINGERING_BYTES {
        match timed.read(&mut piece)? {
            0 => break,
            count => read += count,
        }
    }
    Ok(())
}

/// A stream that is read and written until a time, and no longer, however little comes at once.
struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Timed {
    fn until(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            until: Instant::now() + patience,
        }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(bytes)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for address in [
            "127.0.0.1:9100",
            "[::1]:0",
            "0.0.0.0:1",
            "localhost:65535",
            "node-3.cluster_a:80",
        ] {
            assert!(is_address(address), "{address}");
        }
        for wrong in [
            "",
            "9100",
            ":9100",
            "127.0.0.1",
            "127.0.0.1:",
            "a:65536",
            "a:+1",
            "a: 1",
            "a b:1",
            "::1:9100",
            "[::1]",
            "[]:1",
            "[::1:1",
            "http://a:1",
            "a:1/metrics",
            "a\n:1",
        ] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
