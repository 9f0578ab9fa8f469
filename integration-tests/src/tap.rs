//! A listener on the wire, and two relays that are none.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Result;

/// Bytes that a tap keeps.
const KEPT: usize = 64 * 1024 * 1024;

/// A listener on a free loopback port; it stops taking connections when dropped.
pub struct Tap {
    /// Where it listens.
    pub port: u16,
    bytes: Arc<Mutex<Vec<u8>>>,
    over: Arc<AtomicBool>,
    line: Arc<Line>,
}

/// Whether the line is whole: cuts and heals so far, odd while it is cut.
#[derive(Default)]
struct Line(AtomicU64);

impl Line {
    /// Whether a connection of this birth still carries anything. One that was cut never does again, and is not closed.
    fn carries(&self, birth: u64) -> bool {
        birth.is_multiple_of(2) && self.0.load(Ordering::Acquire) == birth
    }
}

impl Tap {
    /// Forwards everything to a port of this machine and keeps a copy.
    ///
    /// # Errors
    /// When no port is free.
    pub fn before(target: u16) -> Result<Self> {
        let line = Arc::<Line>::default();
        let ours = Arc::clone(&line);
        let mut tap = Self::listen(move |near, bytes| {
            let birth = line.0.load(Ordering::Acquire);
            let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
            let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
            let (bytes_too, line_too) = (Arc::clone(&bytes), Arc::clone(&line));
            thread::spawn(move || copy(near_too, far_too, &bytes_too, || line_too.carries(birth)));
            copy(far, near, &bytes, || line.carries(birth));
        })?;
        tap.line = ours;
        Ok(tap)
    }

    /// Cuts the line without a word: connections stay open, and nothing comes through any more.
    pub fn cut(&self) {
        if self.line.0.load(Ordering::Acquire).is_multiple_of(2) {
            self.line.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The line is back: new connections come through, old ones stay mute, as after a change of address.
    pub fn heal(&self) {
        if self.line.0.load(Ordering::Acquire) % 2 == 1 {
            self.line.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Answers every connection with bytes that mean nothing.
    ///
    /// # Errors
    /// When no port is free.
    pub fn garbage() -> Result<Self> {
        Self::listen(|mut near, _| {
            let noise: Vec<u8> = (0..65_536_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            while near.write_all(&noise).is_ok() {}
        })
    }

    /// Takes every connection and says nothing.
    ///
    /// # Errors
    /// When no port is free.
    pub fn silence() -> Result<Self> {
        Self::listen(|mut near, _| {
            let mut buffer = [0; 4_096];
            while near.read(&mut buffer).is_ok_and(|read| read > 0) {}
        })
    }

    /// What went through so far, both ways.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listen(serve: impl Fn(TcpStream, Arc<Mutex<Vec<u8>>>) + Clone + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let (bytes, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let tap = Self { port, bytes: Arc::clone(&bytes), over: Arc::clone(&over), line: Arc::default() };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let (serve, bytes) = (serve.clone(), Arc::clone(&bytes));
                thread::spawn(move || serve(stream, bytes));
            }
        });
        Ok(tap)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let _wake = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, kept: &Mutex<Vec<u8>>, carries: impl Fn() -> bool) {
    let mut buffer = [0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let Some(part) = buffer.get(..read) else { break };
        if !carries() {
            continue;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() + read <= KEPT {
            kept.extend_from_slice(part);
        }
        drop(kept);
        if to.write_all(part).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(Shutdown::Both);
    let _gone = from.shutdown(Shutdown::Both);
}
