//! A wire to a RabbitMQ that a test may cut, hold up, or rob of the server's confirms.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(2);
const METHOD: u8 = 1;
/// `basic.ack` and `basic.nack`: class and method.
const CONFIRMS: [[u8; 4]; 2] = [[0, 60, 0, 80], [0, 60, 0, 120]];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fine,
    /// Nothing comes through, either way.
    Still,
    /// The server's confirms are lost.
    Robbed,
    /// Nobody listens, and all connections are gone.
    Cut,
}

pub struct Wire {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    weather: AtomicU8,
    is_over: AtomicBool,
    listener: Mutex<Option<TcpListener>>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Wire {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        let shared = Arc::new(Shared {
            server,
            weather: AtomicU8::new(Weather::Fine as u8),
            is_over: AtomicBool::new(false),
            listener: Mutex::new(Some(listener)),
            streams: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept());
        Self { address, shared }
    }

    pub fn be(&self, weather: Weather) {
        self.shared.weather.store(weather as u8, Ordering::SeqCst);
        let mut listener = lock(&self.shared.listener);
        if weather == Weather::Cut {
            *listener = None;
            for stream in lock(&self.shared.streams).drain(..) {
                // It may be closed already.
                drop(stream.shutdown(Shutdown::Both));
            }
        } else if listener.is_none() {
            let again = TcpListener::bind(self.address).expect("the port was ours");
            again.set_nonblocking(true).expect("a socket");
            *listener = Some(again);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.be(Weather::Cut);
        self.shared.is_over.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn is(&self, weather: Weather) -> bool {
        self.weather.load(Ordering::SeqCst) == weather as u8
    }

    fn accept(self: Arc<Self>) {
        while !self.is_over.load(Ordering::SeqCst) {
            let accepted = lock(&self.listener).as_ref().map(TcpListener::accept);
            match accepted {
                Some(Ok((client, _))) => {
                    if let Err(e) = self.join(client) {
                        eprintln!("a wire to {}: {e}", self.server);
                    }
                }
                _ => thread::sleep(POLL),
            }
        }
    }

    fn join(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        client.set_nonblocking(false)?;
        let server = TcpStream::connect(self.server)?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        lock(&self.streams).extend([client.try_clone()?, server.try_clone()?]);
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        let forth = Arc::clone(self);
        thread::spawn(move || {
            forth.ended(forth.copy(&from, &to), &from, &to);
        });
        let back = Arc::clone(self);
        thread::spawn(move || {
            back.ended(back.copy_frames(&server, &client), &server, &client);
        });
        Ok(())
    }

    /// That a connection ends is no surprise here.
    fn ended(&self, _: io::Result<()>, from: &TcpStream, to: &TcpStream) {
        for stream in [from, to] {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn hold(&self) {
        while self.is(Weather::Still) {
            thread::sleep(POLL);
        }
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let n = from.read(&mut bytes)?;
            if n == 0 {
                return Ok(());
            }
            self.hold();
            to.write_all(&bytes[..n])?;
        }
    }

    /// A server sends nothing but frames: type, channel, length, content, end.
    fn copy_frames(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        loop {
            let mut frame = vec![0; 7];
            from.read_exact(&mut frame)?;
            let length = frame[3..7].iter().fold(0, |n, b| n << 8 | usize::from(*b));
            frame.resize(7 + length + 1, 0);
            from.read_exact(&mut frame[7..])?;
            self.hold();
            let confirms = CONFIRMS.iter().any(|method| frame[7..].starts_with(method));
            if !(self.is(Weather::Robbed) && frame[0] == METHOD && confirms) {
                to.write_all(&frame)?;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
