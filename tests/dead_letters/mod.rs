//! Dead letters on the real process: listed, shown, redriven, exported, purged; by command and by API.

mod house;
mod kills;
mod purges;
mod redrives;
