//! The desktop app's window, used as a person uses it: keys, mouse, clipboard; read as a screen reader reads it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    Desktop, PATIENCE,
    bus::{Arg, Bus, Call},
    desktop::SIZE,
    process::{Process, window_binary},
    screen::Screen,
};

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);
/// More colours than this stand on a screen only once words do: their edges are smooth.
const WORDS: usize = 24;
/// Things of a window that are looked at.
const NODES_MAX: usize = 2_000;
const ACCESSIBLE: &str = "org.a11y.atspi.Accessible";
const REGISTRY: &str = "org.a11y.atspi.Registry";
const ROOT: &str = "/org/a11y/atspi/accessible/root";

/// Something that a screen reader finds.
#[derive(Clone, Debug)]
struct Thing {
    at: (String, String),
    name: String,
}

/// A running app with a window on a [`Desktop`].
pub struct Window {
    process: Process,
    display: String,
    screen: Screen,
    reader: Option<Bus>,
    /// From the start of the process until words stood on the screen.
    pub first_words: Duration,
    log: PathBuf,
}

impl Window {
    pub(crate) fn open(desktop: &Desktop, home: &Path, args: &[&str]) -> Result<Self> {
        // One of many starts under Xvfb ends at once, for no reason that was found: then it is started once more.
        Self::start(desktop, home, args).or_else(|_| Self::start(desktop, home, args))
    }

    fn start(desktop: &Desktop, home: &Path, args: &[&str]) -> Result<Self> {
        let log = home.with_extension("log");
        let mut command = Command::new(window_binary()?);
        command.arg("--home").arg(home).args(["--listen", "/ip4/127.0.0.1/tcp/0"]).args(args);
        // Nothing of the computer that the test runs on: no bus but ours, no settings, no fonts of the system.
        for name in
            ["WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"]
        {
            command.env_remove(name);
        }
        command.env("DISPLAY", &desktop.display).env("HOME", home.with_extension("user"));
        command.env("FONTCONFIG_FILE", "/nonexistent").stdin(Stdio::null());
        if let Some(address) = desktop.session() {
            command.env("DBUS_SESSION_BUS_ADDRESS", address);
        }
        let started = Instant::now();
        let mut process = Process::run(command, &log)?;
        let screen = desktop.screen.clone();
        while screen.colours([0, 0, SIZE[0], SIZE[1]])? <= WORDS {
            ensure!(process.alive(), "the app ended at once; its log:\n{}", process.log_tail());
            ensure!(started.elapsed() < PATIENCE, "no window within {PATIENCE:?}; log:\n{}", process.log_tail());
            thread::sleep(Duration::from_millis(2));
        }
        let first_words = started.elapsed();
        let reader = desktop.session().map(|_| desktop.reader()).transpose()?;
        let mut window = Self { process, display: desktop.display.clone(), screen, reader, first_words, log };
        window.until("a window with a title", |w| Ok(w.title()?.is_some()))?;
        window.xdotool(&["search", "--sync", "--name", "^(Hearth|Untitled)$", "windowactivate", "--sync"])?;
        // A window manager calls a window active before keys reach it.
        window.until("a window with the keyboard", |w| {
            let focused = w.tool(&["getwindowfocus", "getwindowname"]).output().context("xdotool")?;
            Ok(["Hearth", "Untitled"].contains(&String::from_utf8_lossy(&focused.stdout).trim()))
        })?;
        Ok(window)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The processor time of the thread that draws, in the system's ticks.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn drawing_ticks(&self) -> Result<u64> {
        ticks(&format!("/proc/{0}/task/{0}/stat", self.pid()))
    }

    /// The processor time of the whole process, in the system's ticks.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn all_ticks(&self) -> Result<u64> {
        ticks(&format!("/proc/{}/stat", self.pid()))
    }

    /// Where its log lies.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the process cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()
    }

    /// The title, as the window manager shows it.
    ///
    /// # Errors
    /// When the screen cannot be asked.
    pub fn title(&self) -> Result<Option<String>> {
        for title in ["Hearth", "Untitled"] {
            let found = self.tool(&["search", "--name", &format!("^{title}$")]).output().context("xdotool")?;
            if found.status.success() {
                return Ok(Some(title.to_owned()));
            }
        }
        Ok(None)
    }

    /// Types on the keyboard.
    ///
    /// # Errors
    /// When the keys do not go out.
    pub fn types(&self, text: &str) -> Result<()> {
        self.xdotool(&["type", "--delay", "8", "--", text])
    }

    /// Presses keys, named as `xdotool` names them: `Return`, `ctrl+v`.
    ///
    /// # Errors
    /// When the keys do not go out.
    pub fn press(&self, keys: &[&str]) -> Result<()> {
        self.xdotool(&[&["key", "--delay", "20"], keys].concat())
    }

    /// How many colours stand in the middle of the screen; one means an empty page.
    ///
    /// # Errors
    /// When the screen cannot be read.
    pub fn colours(&self) -> Result<usize> {
        // The pointer is drawn into the screen too.
        self.xdotool(&["mousemove", "--sync", "0", "0"])?;
        self.screen.colours([SIZE[0] / 4, SIZE[1] / 4, SIZE[0] / 2, SIZE[1] / 2])
    }

    /// Waits until a condition holds.
    ///
    /// # Errors
    /// When it does not in time, with what the window shows.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !holds(self)? {
            if started.elapsed() > PATIENCE || !self.process.alive() {
                let shown = self.names().unwrap_or_default().join(" | ");
                bail!("not within {PATIENCE:?}: {what}; shown: {shown}; log:\n{}", self.process.log_tail());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until a screen reader finds something whose name contains this.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn shows(&mut self, words: &str) -> Result<()> {
        self.until(words, |w| Ok(w.names()?.iter().any(|name| name.contains(words))))
    }

    /// Every name that a screen reader finds.
    ///
    /// # Errors
    /// When the window does not answer.
    pub fn names(&mut self) -> Result<Vec<String>> {
        Ok(self.things()?.into_iter().map(|thing| thing.name).collect())
    }

    /// What stands in the field of this name.
    ///
    /// # Errors
    /// When there is no such field.
    pub fn field(&mut self, name: &str) -> Result<String> {
        let (to, path) = self.find(name)?.with_context(|| format!("no field {name}"))?.at;
        let call = Call { to: &to, path: &path, interface: "org.a11y.atspi.Text", member: "GetText" };
        self.bus()?.call(call, &[Arg::Signed(0), Arg::Signed(-1)])?.text()
    }

    /// Clicks in the middle of the thing of this name, with the mouse, once it is there.
    ///
    /// # Errors
    /// When it does not come, or has no place.
    pub fn click(&mut self, name: &str) -> Result<()> {
        // What just appeared may still be moving to its place.
        let mut last = None;
        self.until(name, |w| {
            let place = w.place(name)?;
            let rests = place.is_some() && place == last;
            last = place;
            Ok(rests)
        })?;
        let [left, top, width, height] = last.context("it went away")?;
        let (x, y) = ((left + width / 2).to_string(), (top + height / 2).to_string());
        self.xdotool(&["mousemove", "--sync", &x, &y, "click", "1"])
    }

    /// Left, top, width and height of the thing of this name, in the screen's pixels.
    fn place(&mut self, name: &str) -> Result<Option<[i32; 4]>> {
        let Some(Thing { at: (to, path), .. }) = self.find(name)? else { return Ok(None) };
        let call = Call { to: &to, path: &path, interface: "org.a11y.atspi.Component", member: "GetExtents" };
        // 0: in the screen's pixels.
        let mut place = self.bus()?.call(call, &[Arg::Unsigned(0)])?;
        Ok(Some([place.signed()?, place.signed()?, place.signed()?, place.signed()?]))
    }

    /// The thing of exactly this name.
    fn find(&mut self, name: &str) -> Result<Option<Thing>> {
        Ok(self.things()?.into_iter().find(|thing| thing.name == name))
    }

    /// Everything in the window, in reading order. What goes away while it is looked at is left out.
    fn things(&mut self) -> Result<Vec<Thing>> {
        let bus = self.bus()?;
        let mut all = Vec::new();
        let mut todo: Vec<_> = children(bus, REGISTRY, ROOT)?.into_iter().rev().take(1).collect();
        while let Some(at) = todo.pop() {
            if all.len() == NODES_MAX {
                break;
            }
            let Ok(name) = bus.text(&at.0, &at.1, ACCESSIBLE, "Name") else { continue };
            todo.extend(children(bus, &at.0, &at.1).unwrap_or_default().into_iter().rev());
            all.push(Thing { at, name });
        }
        Ok(all)
    }

    fn bus(&mut self) -> Result<&mut Bus> {
        self.reader.as_mut().context("a desktop without a screen reader")
    }

    fn tool(&self, args: &[&str]) -> Command {
        let mut command = Command::new("xdotool");
        command.args(args).env("DISPLAY", &self.display);
        command
    }

    fn xdotool(&self, args: &[&str]) -> Result<()> {
        let done = self.tool(args).output().context("xdotool")?;
        // What was typed stays out of the message: it may be a passphrase.
        ensure!(done.status.success(), "xdotool {} failed", args.first().copied().unwrap_or_default());
        Ok(())
    }
}

/// User and system time of a `stat` file: the 14th and 15th field, counted behind the name, which may hold anything.
fn ticks(path: &str) -> Result<u64> {
    let stat = std::fs::read_to_string(path).context("the process's times")?;
    let (_, rest) = stat.rsplit_once(')').context("a stat without a name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |n: usize| -> Result<u64> { Ok(fields.get(n).context("a short stat")?.parse()?) };
    Ok(field(11)? + field(12)?)
}

fn children(bus: &mut Bus, to: &str, path: &str) -> Result<Vec<(String, String)>> {
    let call = Call { to, path, interface: ACCESSIBLE, member: "GetChildren" };
    bus.call(call, &[])?.objects()
}
