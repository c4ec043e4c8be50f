//! One connection to a server, ready to publish on: its exchange and queues are there, its channels confirm.

use super::address::Address;
use super::options::RabbitmqOptions;
use super::told::NoLink;
use super::wire::{self, Wire};
use super::{told, topology};
use crate::egress::dial::Dialer;
use futures_util::StreamExt as _;
use lapin::options::ConfirmSelectOptions;
use lapin::tcp::AsyncTcpStream;
use lapin::types::ShortString;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// A normal end, in AMQP's numbers.
const GOODBYE: (u16, &str) = (200, "OK");

pub struct Link {
    connection: Connection,
    /// Open, with nothing unconfirmed on them.
    idle: Mutex<Vec<Channel>>,
    /// Why the server takes nothing, in its words.
    blocked: Arc<Mutex<String>>,
    listener: AbortHandle,
}

/// A server of a cluster, and the way there.
pub struct Server {
    address: Address,
    dialer: Arc<Dialer>,
}

impl Server {
    /// # Errors
    /// What of the options can't be used; nothing secret is in it.
    pub fn new(url: &str, options: &RabbitmqOptions) -> Result<Self, String> {
        let (username, password) = (options.username.as_deref(), options.password.as_deref());
        let address = Address::of(url, username, password)?;
        let tls = address.is_encrypted.then_some(&options.tls);
        let dialer = Dialer::to(&address.host, address.port, tls, &[])?;
        Ok(Self {
            address,
            dialer: Arc::new(dialer),
        })
    }

    pub fn name(&self) -> String {
        format!("{}:{}", self.address.host, self.address.port)
    }
}

impl Link {
    /// # Errors
    /// Why there is none.
    pub async fn open(
        server: &Server,
        options: &RabbitmqOptions,
        title: &str,
        end: Instant,
    ) -> Result<Self, NoLink> {
        let connected = timeout_at(end, connect(server, title, end)).await;
        let connection = connected
            .map_err(|_| NoLink::late())?
            .map_err(|e| NoLink::of("", &e))?;
        let blocked = Arc::new(Mutex::new(String::new()));
        let events = connection.events_listener();
        let told = Arc::clone(&blocked);
        let listener = tokio::spawn(events.for_each(move |event| {
            if let Event::ConnectionBlocked(reason) = event {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = reason;
            }
            std::future::ready(())
        }));
        let link = Self {
            connection,
            idle: Mutex::new(Vec::new()),
            blocked,
            listener: listener.abort_handle(),
        };
        let prepared = timeout_at(end, link.prepare(options)).await;
        prepared.map_err(|_| NoLink::late())??;
        Ok(link)
    }

    async fn prepare(&self, options: &RabbitmqOptions) -> Result<(), NoLink> {
        let channel = self.connection.create_channel().await;
        let channel = channel.map_err(|e| NoLink::of("", &e))?;
        topology::ensure(&channel, options).await?;
        // Its confirms count from here on.
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        confirming.await.map_err(|e| NoLink::of("", &e))?;
        self.give_back(channel);
        Ok(())
    }

    pub fn is_open(&self) -> bool {
        self.connection.status().connected()
    }

    pub fn max_frame_bytes(&self) -> u32 {
        self.connection.configuration().frame_max()
    }

    /// Why nothing may be sent now: the server would not read it.
    pub fn blocked(&self) -> Option<String> {
        let is_blocked = self.connection.status().blocked();
        is_blocked.then(|| {
            let words = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
            format!("RabbitMQ takes no messages now (connection.blocked): {words}")
        })
    }

    /// A channel that nobody else has.
    ///
    /// # Errors
    /// Why there is none: nothing was sent on it.
    pub async fn channel(&self, end: Instant) -> Result<Channel, String> {
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(channel) if channel.status().connected() => return Ok(channel),
                Some(_) => {}
                None => break,
            }
        }
        let opened = timeout_at(end, async {
            let channel = self.connection.create_channel().await?;
            let select = ConfirmSelectOptions::default();
            channel.confirm_select(select).await?;
            Ok(channel)
        });
        match opened.await {
            Ok(channel) => channel.map_err(|e: lapin::Error| told::words(&e)),
            Err(_) => Err("no channel in time".to_owned()),
        }
    }

    /// One on which nothing is unconfirmed.
    pub fn give_back(&self, channel: Channel) {
        if channel.status().connected() {
            self.idle().push(channel);
        }
    }

    pub async fn close(&self, limit: Duration) {
        let (code, text) = GOODBYE;
        if let Ok(text) = ShortString::try_new(text) {
            let closing = self.connection.close(code, text);
            // What is not over by then ends with the process.
            drop(tokio::time::timeout(limit, closing).await);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Channel>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn connect(server: &Server, title: &str, end: Instant) -> lapin::Result<Connection> {
    let is_ready = Arc::new(AtomicBool::new(false));
    let (dialer, flag) = (Arc::clone(&server.dialer), Arc::clone(&is_ready));
    let limit = end.saturating_duration_since(Instant::now());
    let dial = async move |_, _| {
        let wire = Wire::dial(&dialer, limit, Arc::clone(&flag)).await?;
        Ok(AsyncTcpStream::Plain(wire))
    };
    let properties = ConnectionProperties::default().with_connection_name(title.into());
    let uri = server.address.uri.clone();
    let connection = Connection::connector(uri, wire::runtime(), dial, properties).await?;
    is_ready.store(true, Ordering::Release);
    Ok(connection)
}

/// Closes a channel on which something is unconfirmed, so that what came of it is known.
pub async fn close_channel(channel: &Channel, limit: Duration) {
    let (code, text) = GOODBYE;
    if let Ok(text) = ShortString::try_new(text) {
        // One that can't be closed in time stays in doubt.
        drop(tokio::time::timeout(limit, channel.close(code, text)).await);
    }
}
