//! The TCP side: accepts connections, serves HTTP/1.1 with axum, and can cut any connection at any moment.
//!
//! A real network loses answers and breaks in the middle of a body, so every connection carries a [`Cutter`]. Cutting makes
//! the next read and write on the socket fail, which closes it without another byte.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::service::Service;

/// Cuts one connection.
#[derive(Clone, Debug)]
pub(super) struct Cutter {
    line: Arc<Line>,
}

impl Cutter {
    /// Makes every further read and write of the connection fail.
    pub(super) fn cut(&self) {
        self.line.cut.store(true, Ordering::SeqCst);
        self.line.reader.wake();
        self.line.writer.wake();
    }
}

#[derive(Debug, Default)]
struct Line {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Line {
    fn check(&self) -> io::Result<()> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut by the sandbox"));
        }
        Ok(())
    }
}

/// A socket that stops working once its [`Cutter`] is used.
#[derive(Debug)]
pub(super) struct CuttableStream {
    stream: TcpStream,
    line: Arc<Line>,
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.line.reader.register(cx.waker());
        self.line.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.line.writer.register(cx.waker());
        self.line.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts connections and remembers how to cut each of them.
struct CuttableListener {
    listener: TcpListener,
    lines: Arc<Mutex<Vec<Weak<Line>>>>,
}

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = Cutter;

    async fn accept(&mut self) -> (CuttableStream, Cutter) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Small answers should not wait for the peer's acknowledgement; a socket without the option still works.
                    let _ = stream.set_nodelay(true);
                    let line = Arc::new(Line::default());
                    let mut lines = self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    lines.retain(|line| line.strong_count() > 0);
                    lines.push(Arc::downgrade(&line));
                    return (CuttableStream { stream, line: Arc::clone(&line) }, Cutter { line });
                }
                // Out of descriptors or an aborted handshake: neither is a reason to stop serving.
                Err(error) => {
                    log::warn!("local MaxCompute cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Cutter> {
        Ok(Cutter { line: Arc::new(Line::default()) })
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Cutter {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// The running HTTP server. Dropping it stops accepting; [`Server::shutdown`] also ends what is open.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    lines: Arc<Mutex<Vec<Weak<Line>>>>,
    task: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Serves `service` on an already bound listener.
    pub(super) fn start(listener: TcpListener, service: Arc<Service>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let listener = CuttableListener { listener, lines: Arc::clone(&lines) };
        let app = Router::new().fallback(answer).with_state(service);
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = axum::serve(listener, app.into_make_service_with_connect_info::<Cutter>()).with_graceful_shutdown(
            async move {
                // An error means the server value was dropped, which also means stop.
                let _ = stopped.await;
            },
        );
        let task = tokio::spawn(async move { serve.await });
        Ok(Self { address, stop: Some(stop), lines, task: Some(task) })
    }

    /// Where the server listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, cuts every open connection and waits for the server's task.
    pub(super) async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only when the task has ended already.
            let _ = stop.send(());
        }
        self.cut_all();
        if let Some(task) = self.task.take() {
            match tokio::time::timeout(SHUTDOWN_TIMEOUT, task).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => log::warn!("local MaxCompute stopped with an error: {error}"),
                Ok(Err(error)) => log::warn!("local MaxCompute's server task failed: {error}"),
                Err(_) => log::warn!("local MaxCompute still has open connections, leaving them behind"),
            }
        }
    }

    fn cut_all(&self) {
        let lines = self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for line in lines.iter().filter_map(Weak::upgrade) {
            Cutter { line }.cut();
        }
    }
}

async fn answer(
    State(service): State<Arc<Service>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    request: Request,
) -> Response {
    service.serve(request, cutter).await
}

const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
