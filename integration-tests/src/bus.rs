//! As much of D-Bus as it takes to read a window the way a screen reader does: calls with plain arguments, and replies.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::HEXLOWER;

/// How long a window may take to answer: it answers once a frame.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest message that is read.
const MESSAGE_MAX: usize = 1 << 24;

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg<'a> {
    Text(&'a str),
    Unsigned(u32),
    Signed(i32),
    /// A variant that holds a boolean.
    Flag(bool),
}

impl Arg<'_> {
    fn signature(self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Unsigned(_) => "u",
            Self::Signed(_) => "i",
            Self::Flag(_) => "v",
        }
    }
}

/// What is called: whose, where, and which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) to: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
}

/// A connection to a bus.
pub(crate) struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

impl Bus {
    /// Connects to an address like `unix:path=/tmp/bus,guid=…`.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let path = address.strip_prefix("unix:path=").and_then(|rest| rest.split(',').next());
        let stream = UnixStream::connect(path.context("a bus address without a path")?).context("the bus")?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut bus = Self { stream: BufReader::new(stream), serial: 0 };
        let user = std::fs::metadata("/proc/self")?.uid().to_string();
        let greeting = format!("\0AUTH EXTERNAL {}\r\n", HEXLOWER.encode(user.as_bytes()));
        bus.stream.get_mut().write_all(greeting.as_bytes())?;
        let mut line = String::new();
        bus.stream.read_line(&mut line)?;
        ensure!(line.starts_with("OK "), "the bus does not let us in");
        bus.stream.get_mut().write_all(b"BEGIN\r\n")?;
        let own = "org.freedesktop.DBus";
        bus.call(Call { to: own, path: "/org/freedesktop/DBus", interface: own, member: "Hello" }, &[])?;
        Ok(bus)
    }

    /// Calls, and waits for the reply.
    pub(crate) fn call(&mut self, call: Call<'_>, args: &[Arg<'_>]) -> Result<Body> {
        self.serial += 1;
        let message = Message::of(self.serial, call, args).0;
        self.stream.get_mut().write_all(&message).context("the bus takes nothing")?;
        loop {
            let (kind, reply_to, body) = self.next().with_context(|| format!("no answer to {}", call.member))?;
            match (kind, reply_to == Some(self.serial)) {
                (2, true) => return Ok(body),
                (3, true) => bail!("{} was refused", call.member),
                _ => {}
            }
        }
    }

    /// A property that is a text.
    pub(crate) fn text(&mut self, to: &str, path: &str, interface: &str, name: &str) -> Result<String> {
        let call = Call { to, path, interface: "org.freedesktop.DBus.Properties", member: "Get" };
        let mut body = self.call(call, &[Arg::Text(interface), Arg::Text(name)])?;
        body.signature()?;
        body.text()
    }

    /// Sets a property that is a boolean.
    pub(crate) fn set(&mut self, to: &str, path: &str, interface: &str, name: &str, value: bool) -> Result<()> {
        let call = Call { to, path, interface: "org.freedesktop.DBus.Properties", member: "Set" };
        self.call(call, &[Arg::Text(interface), Arg::Text(name), Arg::Flag(value)]).map(drop)
    }

    /// The next message: its kind, what it answers, and what it says.
    fn next(&mut self) -> Result<(u8, Option<u32>, Body)> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        ensure!(head.first() == Some(&b'l'), "a message in the other byte order");
        let mut fixed = Body { bytes: head.to_vec(), at: 4 };
        let (body, _serial, fields) = (fixed.unsigned()? as usize, fixed.unsigned()?, fixed.unsigned()? as usize);
        let padded = fields.next_multiple_of(8);
        ensure!(body + padded <= MESSAGE_MAX, "a message that is too long");
        let mut rest = vec![0; padded + body];
        self.stream.read_exact(&mut rest)?;
        let bytes = rest.split_off(padded);
        rest.truncate(fields);
        Ok((head.get(1).copied().unwrap_or_default(), reply_to(rest)?, Body { bytes, at: 0 }))
    }
}

/// Which call a header says that it answers.
fn reply_to(fields: Vec<u8>) -> Result<Option<u32>> {
    let mut fields = Body { bytes: fields, at: 0 };
    while fields.at < fields.bytes.len() {
        fields.align(8);
        let code = fields.byte()?;
        match fields.signature()?.as_str() {
            "u" if code == 5 => return fields.unsigned().map(Some),
            "u" => drop(fields.unsigned()?),
            "g" => drop(fields.signature()?),
            _ => drop(fields.text()?),
        }
    }
    Ok(None)
}

/// What a reply says, read from the front. Alignment counts from the body's beginning.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    at: usize,
}

impl Body {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(count).context("a reply that is too short")?;
        let taken = self.bytes.get(self.at..end).context("a reply that is too short")?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    pub(crate) fn unsigned(&mut self) -> Result<u32> {
        self.align(4);
        Ok(u32::from_le_bytes(self.take(4)?.try_into()?))
    }

    pub(crate) fn signed(&mut self) -> Result<i32> {
        self.align(4);
        Ok(i32::from_le_bytes(self.take(4)?.try_into()?))
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        let length = self.unsigned()? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    fn signature(&mut self) -> Result<String> {
        let length = usize::from(self.byte()?);
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    /// An array of pairs: a bus name and an object's path.
    pub(crate) fn objects(&mut self) -> Result<Vec<(String, String)>> {
        let length = self.unsigned()? as usize;
        self.align(8);
        let end = self.at + length;
        let mut all = Vec::new();
        while self.at < end {
            self.align(8);
            all.push((self.text()?, self.text()?));
        }
        Ok(all)
    }
}

/// A message being written, little end first.
struct Message(Vec<u8>);

impl Message {
    fn of(serial: u32, call: Call<'_>, args: &[Arg<'_>]) -> Self {
        let mut body = Self(Vec::new());
        for arg in args {
            match arg {
                Arg::Text(text) => body.text(text),
                Arg::Unsigned(n) => body.number(&n.to_le_bytes()),
                Arg::Signed(n) => body.number(&n.to_le_bytes()),
                Arg::Flag(on) => {
                    body.signature("b");
                    body.number(&u32::from(*on).to_le_bytes());
                }
            }
        }
        let signature: String = args.iter().map(|arg| arg.signature()).collect();
        let mut fields = Self(Vec::new());
        for (code, kind, value) in [
            (1, "o", call.path),
            (6, "s", call.to),
            (2, "s", call.interface),
            (3, "s", call.member),
            (8, "g", signature.as_str()),
        ] {
            fields.align(8);
            fields.0.push(code);
            fields.signature(kind);
            if kind == "g" { fields.signature(value) } else { fields.text(value) }
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut message = Self(vec![b'l', 1, 0, 1]);
        for number in [length(&body.0), serial.to_le_bytes(), length(&fields.0)] {
            message.number(&number);
        }
        message.0.extend(fields.0);
        message.align(8);
        message.0.extend(body.0);
        message
    }

    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, bytes: &[u8; 4]) {
        self.align(4);
        self.0.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.number(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.bytes());
        self.0.push(0);
    }
}
