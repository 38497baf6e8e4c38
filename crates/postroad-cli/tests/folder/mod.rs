//! Files of a test.
#![allow(dead_code, unreachable_pub, reason = "test programs are crates of their own")]

use std::path::PathBuf;

/// A folder with a cookie; removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("postroad-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.put("cookie", "a cookie\n");
        folder
    }

    /// Writes a file as a careful operator does: whole or not at all.
    pub fn put(&self, name: &str, text: &str) {
        std::fs::write(self.0.join("new"), text).unwrap();
        #[cfg(unix)]
        self.permit("new", 0o600);
        std::fs::rename(self.0.join("new"), self.0.join(name)).unwrap();
    }

    /// Lets others at a file, or not.
    #[cfg(unix)]
    pub fn permit(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(self.0.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
