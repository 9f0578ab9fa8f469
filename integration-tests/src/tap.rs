//! A listener on the wire, and two relays that are none.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
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
}

impl Tap {
    /// Forwards everything to a port of this machine and keeps a copy.
    ///
    /// # Errors
    /// When no port is free.
    pub fn before(target: u16) -> Result<Self> {
        Self::listen(move |near, bytes| {
            let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
            let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
            let bytes_too = Arc::clone(&bytes);
            thread::spawn(move || copy(near_too, far_too, &bytes_too));
            copy(far, near, &bytes);
        })
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
        let tap = Self { port, bytes: Arc::clone(&bytes), over: Arc::clone(&over) };
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

fn copy(mut from: TcpStream, mut to: TcpStream, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let Some(part) = buffer.get(..read) else { break };
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
