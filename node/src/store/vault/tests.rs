use super::*;

/// The least a file may name keeps these tests fast.
const CHEAP: VaultParams = VaultParams { memory_kib: READ_KIB_MIN, passes: 1, lanes: 1 };

fn home_with(passphrase: &str) -> (tempfile::TempDir, RingKey) {
    let home = tempfile::tempdir().unwrap();
    let ring = RingKey::random().unwrap();
    write(home.path(), &wrap(&ring, passphrase, CHEAP).unwrap()).unwrap();
    (home, ring)
}

/// The same vault with other parameters and a fitting checksum, as an attacker would write it.
fn forged(memory_kib: u32, passes: u32, lanes: u32) -> Vec<u8> {
    let mut file = wrap(&RingKey::random().unwrap(), "p", CHEAP).unwrap();
    let numbers: Vec<u8> = [memory_kib, passes, lanes].iter().flat_map(|n| n.to_le_bytes()).collect();
    file[10..22].copy_from_slice(&numbers);
    reseal(&mut file);
    file
}

fn reseal(file: &mut [u8]) {
    let sum = blake3::hash(&file[..VAULT_LEN - SUM]);
    file[VAULT_LEN - SUM..].copy_from_slice(sum.as_bytes());
}

#[test]
fn it_opens_with_its_passphrase_only() {
    let (home, ring) = home_with("gärten & brücken");
    let (opened, params) = open(home.path(), "gärten & brücken").unwrap();
    assert_eq!(opened.as_bytes(), ring.as_bytes());
    assert_eq!(params, CHEAP);
    for wrong in ["garten & brücken", "gärten & brücken ", "x"] {
        assert_eq!(verify(home.path(), wrong), Err(VaultError::BadPassphrase));
    }
    assert_eq!(verify(home.path(), ""), Err(VaultError::BadPassphrase));
    assert_eq!(verify(home.path(), &"x".repeat(PASSPHRASE_MAX + 1)), Err(VaultError::BadPassphrase));
    assert_eq!(std::fs::metadata(home.path().join("vault")).unwrap().len(), VAULT_LEN as u64);
}

#[test]
fn a_home_without_a_vault_says_so() {
    let home = tempfile::tempdir().unwrap();
    assert!(!exists(home.path()));
    assert_eq!(verify(home.path(), "p"), Err(VaultError::Missing));
}

/// Bad input 24: 4 TiB and 8 KiB of memory, and the rest of the range's edges.
#[test]
fn absurd_parameters_are_refused_before_any_work() {
    let refused = [
        (u32::MAX, 3, 4),
        (8, 3, 4),
        (READ_KIB_MIN - 1, 3, 4),
        (READ_KIB_MAX + 1, 3, 4),
        (READ_KIB_MIN, 0, 4),
        (READ_KIB_MIN, PASSES_MAX + 1, 4),
        (READ_KIB_MIN, 3, 0),
        (READ_KIB_MIN, 3, LANES_MAX + 1),
    ];
    for (memory, passes, lanes) in refused {
        assert_eq!(unwrap(&forged(memory, passes, lanes), "p").err(), Some(VaultError::Params));
    }
    // Within the range but not what the key was made with: the parameters are authenticated.
    assert_eq!(unwrap(&forged(READ_KIB_MIN, 2, 1), "p").err(), Some(VaultError::BadPassphrase));
    assert!(VaultParams::with_mib(63).is_none());
    assert!(VaultParams::with_mib(1_025).is_none());
    assert_eq!(VaultParams::with_mib(256), Some(VaultParams::default()));
}

#[test]
fn every_flipped_byte_and_every_cut_is_damage() {
    let file = wrap(&RingKey::random().unwrap(), "p", CHEAP).unwrap();
    for at in (0..VAULT_LEN).step_by(13) {
        let mut bad = file.clone();
        bad[at] ^= 1;
        assert_eq!(unwrap(&bad, "p").err(), Some(VaultError::Damaged), "byte {at}");
    }
    for len in [0, 1, HEAD, VAULT_LEN - 1] {
        assert_eq!(unwrap(&file[..len], "p").err(), Some(VaultError::Damaged));
    }
    let mut long = file.clone();
    long.push(0);
    assert_eq!(unwrap(&long, "p").err(), Some(VaultError::Damaged));
    // Changed padding with a fitting checksum: nothing in the file is unauthenticated.
    let mut bad = file;
    bad[VAULT_LEN - SUM - TAG - 1] ^= 1;
    reseal(&mut bad);
    assert_eq!(unwrap(&bad, "p").err(), Some(VaultError::BadPassphrase));
}

#[test]
fn a_new_passphrase_opens_the_same_ring_and_the_old_one_nothing() {
    let (home, ring) = home_with("old");
    assert_eq!(change(home.path(), "wrong", "new", CHEAP), Err(VaultError::BadPassphrase));
    assert_eq!(change(home.path(), "old", "", CHEAP), Err(VaultError::Passphrase));
    assert!(verify(home.path(), "old").is_ok());
    change(home.path(), "old", "new", CHEAP).unwrap();
    assert_eq!(verify(home.path(), "old"), Err(VaultError::BadPassphrase));
    assert_eq!(open(home.path(), "new").unwrap().0.as_bytes(), ring.as_bytes());
}

#[test]
fn changing_never_weakens() {
    let (home, _) = home_with("old");
    let stronger = VaultParams { passes: 2, ..CHEAP };
    change(home.path(), "old", "new", stronger).unwrap();
    change(home.path(), "new", "newer", CHEAP).unwrap();
    assert_eq!(open(home.path(), "newer").unwrap().1, stronger);
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", RingKey::random().unwrap()), "RingKey(…)");
}
