//! Lines of bounded length out of a byte stream.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use zeroize::Zeroizing;

/// The longest line that is read, in bytes without its end.
pub(super) const LINE_MAX: usize = 16 * 1024 * 1024;
/// Most lines fit; one with a passphrase is never copied by growing.
const USUAL: usize = 4 * 1024;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Its bytes, wiped when dropped.
    Whole(Zeroizing<Vec<u8>>),
    /// It was longer than [`LINE_MAX`] and was skipped.
    TooLong,
}

/// Reads lines; a call that is cancelled loses nothing.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Zeroizing<Vec<u8>>,
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::with_capacity(64 * 1024, reader), line: fresh(), skipping: false }
    }

    /// The next line, or `None` at the end. Bytes after the last line end are a line too.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                let nothing = self.line.is_empty() && !self.skipping;
                return Ok((!nothing).then(|| self.end()));
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            if !self.skipping && self.line.len() + part.len() > LINE_MAX {
                self.line = fresh();
                self.skipping = true;
            }
            if !self.skipping {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(self.end()));
            }
        }
    }

    fn end(&mut self) -> Line {
        let line = std::mem::replace(&mut self.line, fresh());
        if std::mem::take(&mut self.skipping) { Line::TooLong } else { Line::Whole(line) }
    }
}

fn fresh() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(USUAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(input: &[u8]) -> Vec<Line> {
        let mut lines = Lines::new(input);
        let mut out = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            out.push(line);
        }
        out
    }

    fn whole(bytes: &[u8]) -> Line {
        Line::Whole(Zeroizing::new(bytes.to_vec()))
    }

    #[tokio::test]
    async fn splits_at_newlines_and_keeps_the_last_piece() {
        assert_eq!(all(b"").await, []);
        assert_eq!(all(b"a\n\nb").await, [whole(b"a"), whole(b""), whole(b"b")]);
        assert_eq!(all(b"a\r\n").await, [whole(b"a\r")]);
    }

    #[tokio::test]
    async fn skips_what_is_too_long_without_keeping_it() {
        let mut input = vec![b'x'; LINE_MAX];
        input.push(b'\n');
        input.extend(vec![b'y'; LINE_MAX + 1]);
        input.extend(b"\nz\n");
        let lines = all(&input).await;
        assert_eq!(lines.len(), 3);
        assert!(matches!(&lines[0], Line::Whole(line) if line.len() == LINE_MAX));
        assert_eq!(lines[1..], [Line::TooLong, whole(b"z")]);
    }

    #[tokio::test]
    async fn a_cancelled_read_loses_nothing() {
        use tokio::io::AsyncWriteExt as _;
        let (mut tx, rx) = tokio::io::duplex(64);
        let mut lines = Lines::new(rx);
        tx.write_all(b"hel").await.unwrap();
        assert!(futures::FutureExt::now_or_never(lines.next()).is_none());
        tx.write_all(b"lo\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(whole(b"hello")));
    }
}
