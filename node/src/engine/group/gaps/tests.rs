use super::*;

#[test]
fn who_came_later_is_owed_from_the_first_word_on() {
    let today = Day(100);
    assert!(is_owed(Some(7), Some(7), today, None) && is_owed(Some(8), Some(7), today, None));
    assert!(!is_owed(Some(6), Some(7), today, None), "some of it may be from before this member came");
    assert!(!is_owed(None, Some(7), today, None), "its join was lost");
    assert!(!is_owed(Some(7), None, today, None), "the own join was lost");
}

#[test]
fn who_was_away_is_shown_what_nobody_can_tell_apart() {
    let older = |said, away| is_owed(Some(0), Some(7), Day(said), away);
    assert!(older(100, Some(Day(100))) && older(160, Some(Day(100))));
    assert!(!older(99, Some(Day(100))), "this member was there when that was said, and all of its own time before");
}
