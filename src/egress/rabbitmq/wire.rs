//! The client's bytes over our own connections: one way to dial and one TLS for all destinations.
//!
//! What must not live here: AMQP.

use crate::egress::dial::{Dialer, Stream as Dialled};
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

pub type Parts = RuntimeParts<Tokio, Reach>;

/// Tasks and timers are tokio's, connections are `Wire`s. Called on a runtime.
pub fn runtime() -> Runtime<Parts> {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), Reach(tokio)))
}

/// A connection. Until it `is_ready` it fails when its time is up: the client's thread that waits for a
/// server's first words waits for nothing else, and nobody else can end it.
pub struct Wire {
    stream: Dialled,
    is_ready: Arc<AtomicBool>,
    end: Pin<Box<Sleep>>,
}

impl Wire {
    /// # Errors
    /// Why there is no connection.
    pub async fn dial(
        dialer: &Dialer,
        limit: Duration,
        is_ready: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let end = tokio::time::Instant::now() + limit;
        match tokio::time::timeout_at(end, dialer.dial()).await {
            Ok(Ok(stream)) => Ok(Self {
                stream,
                is_ready,
                end: Box::pin(tokio::time::sleep_until(end)),
            }),
            Ok(Err(why)) => Err(io::Error::other(why)),
            Err(_) => Err(late()),
        }
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no connection in time")
}

impl futures_io::AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.is_ready.load(Ordering::Acquire) && this.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(late()));
        }
        let mut buffer = ReadBuf::new(bytes);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl futures_io::AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// What the client may ask of the system. Connections it is given (`Wire::dial`): it makes none itself.
#[derive(Clone, Debug)]
pub struct Reach(Tokio);

impl Reactor for Reach {
    type TcpStream = Wire;
    type Sleep = Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static>
    {
        Err::<Wire, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, period: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(period)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
