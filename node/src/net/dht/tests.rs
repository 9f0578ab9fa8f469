use ed25519_dalek::{Signer, SigningKey};
use hearth_protocol::limits::CARD_BYTES;

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

pub(crate) fn clock() -> Timestamp {
    NOW
}

/// A record of this seed's key, made `ahead` minutes after now, padded as a card is.
pub(crate) fn record(seed: u8, ahead: i64, sealed: &[u8]) -> ([u8; 32], Vec<u8>) {
    let mut sealed = sealed.to_vec();
    sealed.resize(CARD_BYTES, 0);
    unpadded(seed, ahead, &sealed)
}

fn unpadded(seed: u8, ahead: i64, sealed: &[u8]) -> ([u8; 32], Vec<u8>) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let pk = key.verifying_key().to_bytes();
    let seq = NOW.minute().0.checked_add_signed(ahead).unwrap();
    let sig = key.sign(&record_message(seq, sealed)).to_bytes();
    (record_key(&pk), cbor::to_vec(&Record { pk, seq, sig, sealed: sealed.to_vec() }))
}

fn kad_record((key, value): ([u8; 32], Vec<u8>)) -> kad::Record {
    kad::Record::new(key.to_vec(), value)
}

#[test]
fn a_record_must_prove_itself() {
    let (key, value) = record(1, 0, &[7; 1_024]);
    assert_eq!(check_record(&key, &value, NOW).unwrap().sealed, vec![7; 1_024]);
    let at = |ahead| {
        let (key, value) = record(1, ahead, b"x");
        check_record(&key, &value, NOW).map(|_| ())
    };
    assert_eq!(at(10), Ok(()));
    assert_eq!(at(11), Err(RecordError::Ahead));
    assert_eq!(at(-100_000), Ok(()));
    assert_eq!(check_record(&[0; 32], &value, NOW), Err(RecordError::Key));
    for size in [0, 1_023, 1_025, 1_400] {
        let (key, value) = unpadded(1, 0, &vec![7; size]);
        assert_eq!(check_record(&key, &value, NOW), Err(RecordError::Malformed), "{size}");
    }
    assert_eq!(check_record(&key, b"garbage", NOW), Err(RecordError::Malformed));
    let mut forged = value;
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(check_record(&key, &forged, NOW), Err(RecordError::Signature));
}

#[test]
fn a_newer_record_replaces_an_older_one_and_never_the_reverse() {
    let mut book = RecordBook::new(PeerId::random(), 10, clock);
    let (key, value) = record(1, 0, b"second");
    let kad_key = kad::RecordKey::new(&key);
    let mut named = kad_record((key, value.clone()));
    named.publisher = Some(PeerId::random());
    assert!(book.put(named).is_ok());
    assert!(book.put(kad_record((key, value.clone()))).is_ok());
    assert!(book.put(kad_record(record(1, -1, b"first"))).is_err());
    assert!(book.put(kad_record(record(1, 0, b"other"))).is_err());
    let kept = book.get(&kad_key).unwrap().into_owned();
    assert_eq!((kept.value, kept.publisher), (value, None));
    assert!(kept.expires.unwrap() <= Instant::now() + RECORD_TTL);
    let (_, third) = record(1, 1, b"third");
    assert!(book.put(kad_record((key, third.clone()))).is_ok());
    assert_eq!(book.get(&kad_key).unwrap().value, third);
    assert_eq!(book.records().count(), 1);
}

#[test]
fn a_full_book_keeps_the_nearest_and_no_provider_is_ever_kept() {
    let own = PeerId::random();
    let mut book = RecordBook::new(own, 4, clock);
    for seed in 1..40 {
        let _ = book.put(kad_record(record(seed, 0, b"x")));
    }
    let own = KBucketKey::from(own);
    let mut nearest: Vec<_> =
        (1..40).map(|seed| own.distance(&KBucketKey::new(kad::RecordKey::new(&record(seed, 0, b"x").0)))).collect();
    nearest.sort();
    assert!(book.kept.keys().eq(nearest[..4].iter()));

    let key = kad::RecordKey::new(&[1; 32]);
    let provider = ProviderRecord::new(key.clone(), PeerId::random(), vec![]);
    assert!(book.add_provider(provider).is_err());
    assert!(book.providers(&key).is_empty() && book.provided().next().is_none());
}
