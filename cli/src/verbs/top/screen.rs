//! The terminal itself: taken whole, drawn line by line, given back as it was.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context as _;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use crossterm::terminal::{
    self, Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use tokio::sync::mpsc;

/// What a terminal has that does not say its size.
const USUAL: (u16, u16) = (80, 24);
/// How soon the thread that reads keys notices that nobody wants them any more.
const NOTICE: Duration = Duration::from_millis(200);
/// Keys that wait to be handled.
const QUEUE: usize = 16;

pub(super) struct Screen {
    keys: mpsc::Receiver<Key>,
}

/// What happens at the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Pressed(KeyEvent),
    /// It has another size.
    Resized,
}

impl Screen {
    pub(super) fn take() -> anyhow::Result<Self> {
        terminal::enable_raw_mode().context("this is no terminal that can be drawn on")?;
        let (send, keys) = mpsc::channel(QUEUE);
        // From here on whatever happens gives it back.
        let screen = Self { keys };
        execute!(
            io::stdout(),
            EnterAlternateScreen,
            Hide,
            DisableLineWrap,
            Clear(ClearType::All)
        )?;
        std::thread::spawn(move || read_keys(&send));
        Ok(screen)
    }

    /// Columns and rows.
    #[expect(
        clippy::unused_self,
        reason = "only whoever has the screen draws by its size"
    )]
    pub(super) fn size(&self) -> (usize, usize) {
        let (columns, rows) = terminal::size().unwrap_or(USUAL);
        (columns.into(), rows.into())
    }

    /// `None` if none will come any more.
    pub(super) async fn key(&mut self) -> Option<Key> {
        self.keys.recv().await
    }

    #[expect(
        clippy::unused_self,
        reason = "only whoever has the screen draws on it"
    )]
    pub(super) fn draw(&mut self, out: &mut impl Write, lines: &[String]) -> io::Result<()> {
        for (row, line) in lines.iter().enumerate() {
            let Ok(row) = row.try_into() else { break };
            // What moves the cursor goes past `out`, which takes colours out where they are not wanted.
            queue!(io::stdout(), MoveTo(0, row))?;
            write!(out, "{line}")?;
            out.flush()?;
            queue!(io::stdout(), Clear(ClearType::UntilNewLine))?;
        }
        if let Ok(row) = lines.len().try_into() {
            queue!(
                io::stdout(),
                MoveTo(0, row),
                Clear(ClearType::FromCursorDown)
            )?;
        }
        io::stdout().flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing can be done if it is gone.
        let _ = execute!(io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

fn read_keys(send: &mpsc::Sender<Key>) {
    while !send.is_closed() {
        match event::poll(NOTICE) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let key = match event::read() {
            // Windows tells of releases, too.
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Key::Pressed(key),
            Ok(Event::Resize(..)) => Key::Resized,
            Ok(_) => continue,
            Err(_) => return,
        };
        if send.blocking_send(key).is_err() {
            return;
        }
    }
}
