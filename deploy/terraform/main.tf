# A Cloud Run job that Cloud Scheduler starts once a day. Read deploy/README.md
# on Cloud Run first: its volumes have no locks, and what follows from that.

locals {
  services = ["bigquery.googleapis.com", "bigquerystorage.googleapis.com", "cloudscheduler.googleapis.com", "file.googleapis.com", "run.googleapis.com", "secretmanager.googleapis.com"]
  # The configuration is mounted like a secret, because a Cloud Run job has no other files.
  files = setunion(var.secrets, ["job_file"])
}

resource "google_project_service" "needed" {
  for_each           = toset(local.services)
  service            = each.value
  disable_on_destroy = false
}

# Who optsweep is. It has no key: Cloud Run lends it the identity.
resource "google_service_account" "sweep" {
  account_id   = "${var.name}-sweep"
  display_name = "optsweep: reads ids, writes flags"
}

# Who may start the job, and nothing else.
resource "google_service_account" "scheduler" {
  account_id   = "${var.name}-scheduler"
  display_name = "optsweep: starts the job"
}

resource "google_secret_manager_secret" "file" {
  for_each  = local.files
  secret_id = "${var.name}-${each.value}"
  replication {
    auto {}
  }
  depends_on = [google_project_service.needed]
}

resource "google_secret_manager_secret_version" "job_file" {
  secret      = google_secret_manager_secret.file["job_file"].id
  secret_data = file(var.job_file)
}

resource "google_secret_manager_secret_iam_member" "sweep" {
  for_each  = local.files
  secret_id = google_secret_manager_secret.file[each.value].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.sweep.member
}

resource "google_cloud_run_v2_job" "sweep" {
  name                = var.name
  location            = var.region
  deletion_protection = true

  template {
    task_count  = 1
    parallelism = 1 # one run at a time
    template {
      service_account       = google_service_account.sweep.email
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2" # volumes need it
      timeout               = "${var.timeout_hours * 3600}s"
      # Cloud Run tries again whatever the exit code was, and most codes do not
      # mend themselves (deploy/runbooks). The next day's run goes on anyway.
      max_retries = 0

      containers {
        image = var.image
        args  = ["run", "--config", "/etc/optsweep/job.yaml"]
        env {
          name  = "OPTSWEEP_LOG_FORMAT"
          value = "json"
        }
        env {
          name  = "OPTSWEEP_PROGRESS"
          value = "none"
        }
        env {
          name  = "TMPDIR"
          value = "/var/lib/optsweep/tmp"
        }
        resources {
          limits = {
            cpu    = "2"
            memory = var.memory
          }
        }
        volume_mounts {
          name       = "workspace"
          mount_path = "/var/lib/optsweep"
        }
        volume_mounts {
          name       = "job-file"
          mount_path = "/etc/optsweep"
        }
        dynamic "volume_mounts" {
          for_each = var.secrets
          content {
            name       = replace(volume_mounts.value, "_", "-")
            mount_path = "/run/secrets/${volume_mounts.value}"
          }
        }
      }

      volumes {
        name = "workspace"
        # Not a bucket: one that is mounted as a folder has neither appends nor
        # whole renames, which the ledger and the suppression list live by.
        nfs {
          server = local.nfs.server
          path   = local.nfs.path
        }
      }
      volumes {
        name = "job-file"
        secret {
          secret = google_secret_manager_secret.file["job_file"].secret_id
          items {
            version = google_secret_manager_secret_version.job_file.version
            path    = "job.yaml"
          }
        }
      }
      dynamic "volumes" {
        for_each = var.secrets
        content {
          name = replace(volumes.value, "_", "-")
          secret {
            secret = google_secret_manager_secret.file[volumes.value].secret_id
            items {
              version = "latest"
              path    = "value"
            }
          }
        }
      }
      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = var.network.network
          subnetwork = var.network.subnetwork
        }
      }
    }
  }
  depends_on = [google_secret_manager_secret_iam_member.sweep, google_project_service.needed]
}

resource "google_cloud_run_v2_job_iam_member" "scheduler" {
  name     = google_cloud_run_v2_job.sweep.name
  location = google_cloud_run_v2_job.sweep.location
  role     = "roles/run.invoker"
  member   = google_service_account.scheduler.member
}

resource "google_cloud_scheduler_job" "daily" {
  name             = var.name
  region           = var.region
  schedule         = var.schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "180s"
  retry_config {
    retry_count = 0 # a repeated call could start a second run beside the first
  }
  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/projects/${var.project}/locations/${var.region}/jobs/${google_cloud_run_v2_job.sweep.name}:run"
    oauth_token {
      service_account_email = google_service_account.scheduler.email
      scope                 = "https://www.googleapis.com/auth/cloud-platform"
    }
  }
}
