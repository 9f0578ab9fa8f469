//! A desktop of its own for a test: an X server without a monitor, a window manager, and a bus for screen readers.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    Window,
    bus::{Arg, Bus, Call},
    process::Process,
    screen::Screen,
};

/// How soon an X server or a bus must say where it is.
const READY: Duration = Duration::from_secs(30);
/// The size of the screen.
pub(crate) const SIZE: [usize; 2] = [1_280, 860];
const A11Y: &str = "org.a11y.Bus";
const A11Y_PATH: &str = "/org/a11y/bus";

/// See the module. Everything ends when it is dropped.
pub struct Desktop {
    dir: PathBuf,
    pub(crate) display: String,
    pub(crate) screen: Screen,
    session: Option<(Process, String)>,
    clipboard: Option<Process>,
    _manager: Process,
    // Last: whatever else is left ends with its display.
    _server: Process,
}

impl Desktop {
    /// Starts the X server and the window manager.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut command = Command::new("Xvfb");
        let size = format!("{}x{}x24", SIZE[0], SIZE[1]);
        command.args(["-displayfd", "1", "-screen", "0", &size, "-nolisten", "tcp", "-fbdir"]).arg(dir);
        let mut server = started(command, dir, "xvfb")?;
        let display = format!(":{}", server.first_line(READY).context("the X server")?.trim());
        let mut command = Command::new("openbox");
        command.env("DISPLAY", &display).env("HOME", dir);
        let manager = started(command, dir, "openbox")?;
        let screen = Screen::of(dir);
        Ok(Self {
            dir: dir.to_owned(),
            display,
            screen,
            session: None,
            clipboard: None,
            _manager: manager,
            _server: server,
        })
    }

    /// Adds a session bus on which windows show themselves to screen readers.
    ///
    /// # Errors
    /// When the bus does not start.
    pub fn with_screen_reader(mut self) -> Result<Self> {
        let mut command = Command::new("dbus-daemon");
        command.args(["--session", "--print-address=1", "--nofork"]);
        command.env("DISPLAY", &self.display).env("HOME", &self.dir);
        let mut daemon = started(command, &self.dir, "dbus")?;
        let address = daemon.first_line(READY).context("the session bus")?.trim().to_owned();
        let mut bus = Bus::connect(&address)?;
        for flag in ["IsEnabled", "ScreenReaderEnabled"] {
            bus.set(A11Y, A11Y_PATH, "org.a11y.Status", flag, true)?;
        }
        self.session = Some((daemon, address));
        Ok(self)
    }

    /// The session bus, when there is one.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session.as_ref().map(|(_, address)| address.as_str())
    }

    /// The bus on which windows show themselves.
    pub(crate) fn reader(&self) -> Result<Bus> {
        let mut bus = Bus::connect(self.session().context("a desktop without a screen reader")?)?;
        let call = Call { to: A11Y, path: A11Y_PATH, interface: A11Y, member: "GetAddress" };
        let address = bus.call(call, &[] as &[Arg<'_>])?.text()?;
        Bus::connect(&address)
    }

    /// Opens the app's window on this desktop.
    ///
    /// # Errors
    /// When no window opens.
    pub fn window(&self, home: &Path, args: &[&str]) -> Result<Window> {
        Window::open(self, home, args)
    }

    /// Puts a text on the clipboard, as another program would.
    ///
    /// # Errors
    /// When the clipboard's program does not take it.
    pub fn copy(&mut self, text: &str) -> Result<()> {
        let mut command = Command::new("xclip");
        command.args(["-quiet", "-selection", "clipboard", "-in"]).env("DISPLAY", &self.display).stdin(Stdio::piped());
        let mut process = started(command, &self.dir, "xclip")?;
        process.child.stdin.take().context("no standard input")?.write_all(text.as_bytes())?;
        self.clipboard = Some(process);
        Ok(())
    }

    /// What is on the clipboard.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn pasted(&self) -> Result<String> {
        let mut command = Command::new("xclip");
        let asked = command.args(["-selection", "clipboard", "-out"]).env("DISPLAY", &self.display).output();
        Ok(String::from_utf8_lossy(&asked.context("xclip")?.stdout).into_owned())
    }
}

fn started(command: Command, dir: &Path, name: &str) -> Result<Process> {
    Process::run(command, &dir.join(name).with_extension("log"))
        .context("a program of the desktop is missing: scripts/system.sh test installs them")
}
