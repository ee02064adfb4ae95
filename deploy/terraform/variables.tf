variable "project" {
  description = "Project that runs the job and pays for BigQuery."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project id has 6 to 30 of a to z, 0 to 9 and '-'."
  }
}

variable "region" {
  description = "Region of the Cloud Run job and of Cloud Scheduler."
  type        = string
  default     = "europe-west1"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is such as europe-west1."
  }
}

variable "name" {
  description = "Name of the job, and the beginning of all other names."
  type        = string
  default     = "optsweep"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "The name has 1 to 20 of a to z, 0 to 9 and '-', and begins with a letter."
  }
}

variable "image" {
  description = "Image built with deploy/Dockerfile, by digest."
  type        = string
  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by its digest (...@sha256:...): a tag can be moved."
  }
}

variable "job_file" {
  description = "Path of the job file, on the machine that runs Terraform. It holds no secrets. In it: workspace: /var/lib/optsweep/JOB, and secrets as {file: /run/secrets/NAME/value}."
  type        = string
  validation {
    condition     = can(yamldecode(file(var.job_file)).tables)
    error_message = "The file is not there, is no YAML, or has no tables. Check it with: optsweep validate --config FILE"
  }
}

variable "secrets" {
  description = "Names of the secrets that the job file asks for. Terraform makes them empty: values never get into its state."
  type        = set(string)
  default     = ["api_key", "client_secret"]
  validation {
    condition     = alltrue([for s in var.secrets : can(regex("^[a-z0-9_]{1,40}$", s))])
    error_message = "A secret's name has 1 to 40 of a to z, 0 to 9 and '_'."
  }
}

variable "schedule" {
  description = "When to run, in UTC: minute hour day-of-month month day-of-week. Once a day is what EUID and UID2 expect."
  type        = string
  default     = "0 4 * * *"
  validation {
    condition     = length(split(" ", var.schedule)) == 5
    error_message = "The schedule has five fields."
  }
}

variable "timeout_hours" {
  description = "Cloud Run ends the run after so many hours. Must be above limits.max_duration of the job file (20h), and below the time between two runs."
  type        = number
  default     = 22
  validation {
    condition     = var.timeout_hours >= 2 && var.timeout_hours <= 23
    error_message = "The timeout is from 2 to 23 hours: with more, a run could meet the next day's."
  }
}

variable "memory" {
  description = "Memory of the container: twice limits.memory of the job file."
  type        = string
  default     = "2Gi"
  validation {
    condition     = can(regex("^[0-9]+(Mi|Gi)$", var.memory))
    error_message = "The memory is such as 2Gi."
  }
}

variable "network" {
  description = "Network and subnetwork through which the job reaches the workspace."
  type        = object({ network = string, subnetwork = string })
}

variable "nfs" {
  description = "NFS export for the workspace. null: a Filestore instance is made (1 TiB, the smallest there is; look at its price first)."
  type        = object({ server = string, path = string })
  default     = null
  validation {
    condition     = var.nfs == null || try(startswith(var.nfs.path, "/"), false)
    error_message = "The path of the export begins with /."
  }
}

variable "filestore_zone" {
  description = "Zone of the Filestore instance, if one is made."
  type        = string
  default     = "europe-west1-b"
}

variable "bigquery_location" {
  description = "Location of the datasets that are made; the same as that of the tables."
  type        = string
  default     = "EU"
}

variable "datasets" {
  description = "Datasets to make: for staging tables, and for the suppression table, its views and the run tables."
  type        = object({ staging = string, results = string })
  default     = { staging = "optsweep_staging", results = "optsweep" }
  validation {
    condition     = alltrue([for d in values(var.datasets) : can(regex("^[A-Za-z0-9_]{1,1024}$", d))])
    error_message = "A dataset's name has letters, digits and '_' only."
  }
}

variable "tables" {
  description = "Tables of the job file, with the mode in which they are written."
  type = list(object({
    project = string
    dataset = string
    table   = string
    mode    = string
  }))
  validation {
    condition     = alltrue([for t in var.tables : contains(["suppression", "column", "remove"], t.mode)])
    error_message = "A mode is suppression, column or remove."
  }
  validation {
    condition     = length(var.tables) == length(distinct([for t in var.tables : "${t.project}.${t.dataset}.${t.table}"]))
    error_message = "A table is there twice."
  }
}
