use minicbor::Decode;
use tokio::io::{DuplexStream, duplex};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::*;

/// A value, to travel.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
struct Number(#[n(0)] u64);

impl Wire for Number {
    const MAX: usize = 2_000;

    fn within_limits(&self) -> bool {
        self.0 < 1_000
    }
}

/// Short, so that tests of stalled frames are quick.
const SHORT: Duration = Duration::from_millis(60);

fn pair(room: usize) -> (Framed<Compat<DuplexStream>>, DuplexStream) {
    let (near, far) = duplex(room);
    let mut near = Framed::new(near.compat());
    near.read.idle = SHORT;
    near.write.idle = SHORT;
    (near, far)
}

#[tokio::test]
async fn values_round_trip_and_a_clean_end_is_told() {
    let (near, far) = duplex(64);
    let (mut near, mut far) = (Framed::new(near.compat()), Framed::new(far.compat()));
    let long = vec![7; 200_000];
    let sent = long.clone();
    let writer = tokio::spawn(async move {
        near.write.write(&sent).await.unwrap();
        near.send(&Number(9)).await.unwrap();
    });
    assert_eq!(far.read.next(300_000).await.unwrap(), long);
    assert_eq!(far.recv::<Number>().await.unwrap(), Number(9));
    writer.await.unwrap();
    assert!(matches!(far.recv::<Number>().await, Err(FrameError::Closed)));
}

#[tokio::test]
async fn a_length_of_four_gigabytes_is_refused_at_the_header() {
    use tokio::io::AsyncWriteExt as _;
    let (mut near, mut far) = pair(64);
    far.write_all(&[0xff; 4]).await.unwrap();
    assert!(matches!(near.read.next(1_000).await, Err(FrameError::TooLong { limit: 1_000 })));
    assert_eq!(near.read.body.capacity(), 0);
}

#[tokio::test]
async fn nothing_is_allocated_for_bytes_that_have_not_arrived() {
    use tokio::io::AsyncWriteExt as _;
    let (mut near, mut far) = pair(64);
    far.write_all(&4_000_000u32.to_be_bytes()).await.unwrap();
    far.write_all(&[1; 10]).await.unwrap();
    drop(far);
    assert!(matches!(near.read.next(4_000_000).await, Err(FrameError::Truncated)));
    assert!(near.read.body.capacity() <= STEP);
}

#[tokio::test]
async fn half_a_frame_ends_the_stream_after_the_idle_time_but_silence_between_frames_does_not() {
    use tokio::io::AsyncWriteExt as _;
    let (mut near, mut far) = pair(64);
    assert!(tokio::time::timeout(SHORT * 3, near.read.next(100)).await.is_err());
    far.write_all(&[0, 0, 0, 5, 1]).await.unwrap();
    let begun = Instant::now();
    assert!(matches!(near.read.next(100).await, Err(FrameError::Stalled)));
    assert!(begun.elapsed() >= SHORT);

    let (mut near, mut far) = pair(64);
    far.write_all(&[0, 0]).await.unwrap();
    assert!(matches!(near.read.next(100).await, Err(FrameError::Stalled)));
}

#[tokio::test]
async fn a_frame_that_trickles_is_stalled_too() {
    use tokio::io::AsyncWriteExt as _;
    let (mut near, mut far) = pair(64);
    let trickle = tokio::spawn(async move {
        far.write_all(&1_000u32.to_be_bytes()).await.unwrap();
        while far.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(SHORT / 4).await;
        }
    });
    assert!(matches!(near.read.next(1_000).await, Err(FrameError::Stalled)));
    trickle.abort();
}

#[tokio::test]
async fn a_peer_that_does_not_read_stalls_the_writer() {
    let (mut near, _far) = pair(64);
    assert!(matches!(near.write.write(&[0; 1_000]).await, Err(FrameError::Stalled)));
}

#[tokio::test]
async fn a_dropped_read_loses_no_byte() {
    use tokio::io::AsyncWriteExt as _;
    let (mut near, mut far) = pair(64);
    far.write_all(&[0, 0, 0, 2, 0x18]).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(5), near.read.next(8)).await.is_err());
    far.write_all(&[0x20]).await.unwrap();
    assert_eq!(near.recv::<Number>().await.unwrap(), Number(0x20));
}

#[tokio::test]
async fn garbage_deep_nesting_and_what_is_beyond_a_limit_are_told_apart_from_values() {
    use tokio::io::AsyncWriteExt as _;
    for body in [vec![0x81; 1_000], vec![0xff], vec![0x18, 0x07], vec![], vec![0x19, 0x03, 0xe8]] {
        let (mut near, mut far) = pair(4_096);
        far.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).await.unwrap();
        far.write_all(&body).await.unwrap();
        assert!(matches!(near.recv::<Number>().await, Err(FrameError::Decode(_))));
    }
}
