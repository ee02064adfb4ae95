# The workspace: a folder that outlives the container. It holds the suppression
# list; without it earlier opt-outs would be forgotten.

resource "google_filestore_instance" "workspace" {
  count    = var.nfs == null ? 1 : 0
  name     = "${var.name}-workspace"
  location = var.filestore_zone
  tier     = "BASIC_HDD"
  file_shares {
    name        = "workspace"
    capacity_gb = 1024
  }
  networks {
    network = var.network.network
    modes   = ["MODE_IPV4"]
  }
  lifecycle {
    prevent_destroy = true
  }
  depends_on = [google_project_service.needed]
}

locals {
  nfs = var.nfs != null ? var.nfs : {
    server = google_filestore_instance.workspace[0].networks[0].ip_addresses[0]
    path   = "/workspace"
  }
}
