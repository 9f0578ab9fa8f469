//! The real window on a real (monitorless) screen, against a real relay and a member in another process.

use anyhow::Result;
use hearth_integration_tests::{Lab, PASSPHRASE, Window, scan};

const TYPED: &str = "wordsfromthewindowkestrel";
const SAID: &str = "wordsfromtheothersidemarten";
const DRAFT: &str = "halfathoughtturnstone";

/// Types the passphrase into a window that is locked.
fn unlock(window: &mut Window) -> Result<()> {
    window.shows("Passphrase")?;
    window.types(PASSPHRASE)?;
    window.press(&["Return"])
}

#[test]
fn two_people_talk_one_of_them_in_a_window() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let group = ada.found("Kitchentablegannet", "Adalovelacesmew")?;
    let link = ada.invite(&group)?;
    let screens = Lab::new()?;
    let mut desktop = screens.desktop("desktop")?.with_screen_reader()?;
    let home = lab.home("window");

    // Start to first message: a passphrase, a pasted link, the charter, the words.
    let mut window = desktop.window(&home, &[])?;
    window.shows("Choose a passphrase")?;
    window.types(PASSPHRASE)?;
    window.press(&["Tab"])?;
    window.types(PASSPHRASE)?;
    window.press(&["Return"])?;
    window.shows("Invite link")?;
    desktop.copy(&link)?;
    window.click("Invite link")?;
    window.press(&["ctrl+v"])?;
    window.click("Accept the charter and join")?;
    window.shows("Kitchentablegannet")?;
    window.shows("Message")?;
    window.types(TYPED)?;
    window.press(&["Return"])?;
    ada.sees(&group, &[TYPED])?;

    // The other way round; and out of the window again by its own clipboard.
    ada.say(&group, SAID)?;
    window.shows(SAID)?;
    window.press(&["shift+F6", "Return"])?;
    window.click("Copy the text")?;
    window.until("the text on the clipboard", |_| Ok(desktop.pasted()? == SAID))?;

    // The window is empty at once, says nothing by its title, and asks for the passphrase.
    let before = window.colours()?;
    window.press(&["ctrl+shift+h"])?;
    window.until("an empty page", |w| Ok(w.colours()? == 1))?;
    window.until("a neutral title", |w| Ok(w.title()?.as_deref() == Some("Untitled")))?;
    assert!(before > 1 && !window.names()?.iter().any(|name| name.contains("Kitchentable")));
    window.press(&["ctrl+shift+h"])?;
    unlock(&mut window)?;
    window.shows("Kitchentablegannet")?;

    // kill -9: what was being written is there again.
    window.press(&["alt+Down"])?;
    window.shows(TYPED)?;
    window.types(DRAFT)?;
    window.until("the whole draft in its field", |w| Ok(w.field("Message")?.contains(DRAFT)))?;
    let typed = std::time::SystemTime::now();
    window.until("a write to the disk", |_| Ok(newest(&home)? > typed))?;
    window.kill()?;
    let mut window = desktop.window(&home, &[])?;
    unlock(&mut window)?;
    window.shows("Kitchentablegannet")?;
    window.press(&["alt+Down"])?;
    window.until("the draft in its field", |w| Ok(w.field("Message").is_ok_and(|text| text.contains(DRAFT))))?;
    window.press(&["ctrl+l"])?;
    window.shows("Passphrase")?;
    window.kill()?;
    ada.kill()?;
    drop(relay);

    // Nothing that was written, read or typed lies readable in any home or log.
    let secrets = [TYPED, SAID, DRAFT, PASSPHRASE, "Kitchentablegannet", "Adalovelacesmew"].map(str::to_owned);
    let (finds, files) = scan::search_files(lab.path(), &scan::forms(&secrets))?;
    assert!(files > 5, "{files} files were searched");
    assert_eq!(finds, [], "secrets by their number");
    Ok(())
}

#[test]
fn a_window_opens_without_bus_tray_portal_or_system_fonts_and_rests() -> Result<()> {
    let lab = Lab::new()?;
    let desktop = lab.desktop("desktop")?;
    let home = lab.home("window");
    let mut window = desktop.window(&home, &[])?;
    assert_eq!(window.title()?.as_deref(), Some("Hearth"));
    window.types(PASSPHRASE)?;
    window.press(&["Tab"])?;
    window.types(PASSPHRASE)?;
    window.press(&["Return"])?;
    window.until("a vault", |_| Ok(home.join("vault").is_file()))?;
    // Once nothing blinks any more, the thread that draws is not woken at all.
    let mut last = window.drawing_ticks()?;
    window.until("five seconds without drawing", |w| {
        std::thread::sleep(std::time::Duration::from_secs(5));
        let now = w.drawing_ticks()?;
        let still = now == last;
        last = now;
        Ok(still)
    })
}

/// When anything below a directory was last written.
fn newest(dir: &std::path::Path) -> Result<std::time::SystemTime> {
    let mut newest = std::time::SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        // Files come and go while the store tidies up.
        let Ok(meta) = path.metadata() else { continue };
        newest = newest.max(if meta.is_dir() { self::newest(&path)? } else { meta.modified()? });
    }
    Ok(newest)
}
