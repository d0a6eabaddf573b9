//! A private authority, certificates signed by it, and TLS in front of a server without TLS.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};

/// A folder with `ca.pem`, and `NAME.pem` and `NAME.key` for each name.
pub(crate) struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    /// Makes the authority, a `server` for 127.0.0.1, and a `client` of this name.
    pub(crate) fn new(client: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Servers below it run as users of their own, who have to pass.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(
            dir.path(),
            &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority"),
        );
        let signed = [
            ("server", "localhost", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            ("client", client, "extendedKeyUsage=clientAuth"),
        ];
        for (name, subject, extension) in signed {
            std::fs::write(dir.path().join("extensions"), extension).unwrap();
            openssl(dir.path(), &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={subject}"));
            let by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions";
            openssl(dir.path(), &format!("x509 -req -in {name}.csr -out {name}.pem {by}"));
        }
        Self { dir }
    }

    /// Where all of the files are.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Where one of the files is.
    pub(crate) fn path(&self, file: &str) -> String {
        self.dir.path().join(file).to_str().unwrap().to_owned()
    }

    /// An address that speaks TLS with the server's certificate and passes all on to `to`.
    pub(crate) async fn in_front_of(&self, to: String) -> SocketAddr {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificate = CertificateDer::from_pem_file(self.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, to) = (acceptor.clone(), to.clone());
                tokio::spawn(async move {
                    // Clients that do not know the authority end here.
                    let Ok(mut outside) = acceptor.accept(stream).await else { return };
                    let mut inside = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        address
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let made = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output().unwrap();
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}
