//! A group whose network falls apart and heals: hosts in namespaces of their own, real processes. `make test-net`.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "test code outside of test functions")]

#[path = "partition/town.rs"]
mod town;

use anyhow::Result;
use serde_json::json;
use town::Town;

/// Each side removes a member of the other, changes the charter, and gives a third another role, while both talk.
fn rivals(mut town: Town, left: &[&str], right: &[&str]) -> Result<()> {
    town.say("ada", "before")?;
    town.everybody_sees("before")?;
    town.cut(left, right)?;

    town.remove("ada", "rob")?;
    town.remove("cleo", "lea")?;
    town.set("ben", json!({"charter": "what the left says"}))?;
    town.set("dan", json!({"charter": "what the right says"}))?;
    town.role("ben", "sam", "reader")?;
    town.role("dan", "sam", "cofacilitator")?;
    for name in ["ada", "ben", "lea", "cleo", "dan", "rob"] {
        town.say(name, &format!("{name}, apart"))?;
    }
    town.sees("ben", "ada, apart")?;
    town.sees("dan", "rob, apart")?;
    town.sees("cleo", "dan, apart")?;
    if !town.relays.is_empty() {
        town.relay("west").kill()?;
        town.say("ada", "with no relay")?;
        town.relay("west").restart()?;
    }
    town.must_differ("ada", "cleo")?;
    // Everybody has noticed: what heals is dialled anew.
    town.peers("ada", 3)?;
    town.peers("cleo", 2)?;

    town.heal()?;
    let stay = ["ada", "ben", "sam", "cleo", "dan"];
    town.converges(&stay)?;
    town.is("rob", "removed")?;
    town.is("lea", "removed")?;
    town.say("cleo", "after")?;
    town.converges(&stay)?;
    for gone in ["rob", "lea"] {
        town.never_sees(gone, "after")?;
    }
    // The lower of two roles, and the charter of the more senior author.
    assert_eq!(town.show("dan")?["charter"], "what the left says");
    assert_eq!(town.role_of("cleo", "sam")?, "reader");
    Ok(())
}

#[test]
#[ignore = "needs root and namespaces: make test-net"]
fn rival_removals_policies_and_words_with_a_relay_on_each_side() -> Result<()> {
    let (left, right) = (["ada", "ben", "lea", "sam", "west"], ["cleo", "dan", "rob", "east"]);
    let town = Town::found(&["ada", "ben", "cleo", "dan"], &["lea", "sam", "rob"], &["west", "east"])?;
    rivals(town, &left, &right)
}

#[test]
#[ignore = "needs root and namespaces: make test-net"]
fn rival_removals_policies_and_words_with_the_only_relay_on_one_side() -> Result<()> {
    let (left, right) = (["ada", "ben", "lea", "sam", "west"], ["cleo", "dan", "rob"]);
    let town = Town::found(&["ada", "ben", "cleo", "dan"], &["lea", "sam", "rob"], &["west"])?;
    rivals(town, &left, &right)
}

#[test]
#[ignore = "needs root and namespaces: make test-net"]
fn rival_removals_policies_and_words_without_a_relay() -> Result<()> {
    let (left, right) = (["ada", "ben", "lea", "sam"], ["cleo", "dan", "rob"]);
    let town = Town::found(&["ada", "ben", "cleo", "dan"], &["lea", "sam", "rob"], &[])?;
    rivals(town, &left, &right)
}

/// Two on each side come in by one link with four uses: most likely for the same seats.
#[test]
#[ignore = "needs root and namespaces: make test-net"]
fn joiners_of_both_sides_by_the_same_link_are_all_in() -> Result<()> {
    let (left, right) = (["ada", "ben", "west", "eve", "fay"], ["cleo", "dan", "east", "gus", "hal"]);
    let mut town = Town::found(&["ada", "ben", "cleo", "dan"], &[], &["west", "east"])?;
    let link = town.link("ada", 4)?;
    for name in ["eve", "fay", "gus", "hal"] {
        town.newcomer(name)?;
    }
    town.cut(&left, &right)?;
    for name in ["eve", "gus", "fay", "hal"] {
        assert_eq!(town.join_late(name, &link)?, "joined");
        town.say(name, &format!("{name} is here"))?;
    }
    town.must_differ("ada", "cleo")?;
    town.heal()?;
    let all = ["ada", "ben", "cleo", "dan", "eve", "fay", "gus", "hal"];
    town.converges(&all)?;
    town.say("gus", "hello all")?;
    town.everybody_sees("hello all")?;
    town.converges(&all)
}

/// Each side lets one of those in who knock, and both a third.
#[test]
#[ignore = "needs root and namespaces: make test-net"]
fn who_was_admitted_on_either_side_is_in() -> Result<()> {
    let (left, right) = (["ada", "ben", "west", "kim", "kit"], ["cleo", "dan", "east", "kay"]);
    let mut town = Town::found_as("knock", &["ada", "ben", "cleo", "dan"], &[], &["west", "east"])?;
    let link = town.link("ada", 4)?;
    for name in ["kim", "kay", "kit"] {
        town.newcomer(name)?;
        assert_eq!(town.join_late(name, &link)?, "waiting");
    }
    town.hears("ada", &["kim", "kay", "kit"])?;
    town.hears("cleo", &["kim", "kay", "kit"])?;
    town.cut(&left, &right)?;
    town.admit("ada", "kim")?;
    town.admit("ada", "kit")?;
    town.admit("cleo", "kay")?;
    town.admit("cleo", "kit")?;
    for name in ["kim", "kit", "kay"] {
        town.is(name, "joined")?;
        town.say(name, &format!("{name} is here"))?;
    }
    town.must_differ("ada", "cleo")?;
    town.heal()?;
    let all = ["ada", "ben", "cleo", "dan", "kim", "kay", "kit"];
    town.converges(&all)?;
    town.say("kay", "hello all")?;
    town.everybody_sees("hello all")?;
    town.converges(&all)
}

/// What the right says reaches the left, and nothing comes back.
#[test]
#[ignore = "needs root and namespaces: make test-net"]
fn a_line_that_is_deaf_in_one_direction_loses_nothing() -> Result<()> {
    let (left, right) = (["ada", "ben", "west"], ["cleo", "dan", "rob", "east"]);
    let mut town = Town::found(&["ada", "ben", "cleo", "dan"], &["rob"], &["west", "east"])?;
    town.lose(&left, &right, 100)?;
    town.say("cleo", "I cannot hear you")?;
    town.sees("ada", "I cannot hear you")?;
    town.remove("ada", "rob")?;
    town.say("ada", "can you hear me?")?;
    // Silence says it, in the end; then the deaf side tries in vain, and the other does not know why.
    town.relays_are("cleo", &["ok", "unreachable"])?;
    town.set("dan", json!({"charter": "speak up"}))?;
    town.say("rob", "nobody tells me anything")?;
    town.never_sees("cleo", "can you hear me?")?;
    town.must_differ("ada", "cleo")?;
    // Then all lines are merely bad, for everybody.
    town.heal()?;
    town.lose(&left, &right, 20)?;
    town.lose(&right, &left, 20)?;
    town.say("ben", "and now?")?;
    town.converges(&["ada", "ben", "cleo", "dan"])?;
    town.is("rob", "removed")?;
    assert_eq!(town.show("ben")?["charter"], "speak up");
    Ok(())
}
