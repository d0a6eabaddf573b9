{{- /* The name of everything: the release's, with the chart's in it. */}}
{{- define "course-sharing.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "course-sharing.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What pods are found by. It never changes, as a Deployment's selector may not. */}}
{{- define "course-sharing.selector" -}}
app.kubernetes.io/name: course-sharing
{{- if not .Values.plain }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end }}

{{- define "course-sharing.labels" -}}
{{ include "course-sharing.selector" . }}
{{- if not .Values.plain }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{- end }}

{{- /* Of every pod: what it may do to its node, which is nothing. */}}
{{- define "course-sharing.pod" -}}
automountServiceAccountToken: false
# Kubernetes' COURSE_SHARING_PORT and the like are of no use here.
enableServiceLinks: false
# It finishes what it has begun within 15 s.
terminationGracePeriodSeconds: 30
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "course-sharing.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{- define "course-sharing.env" -}}
- { name: COURSE_SHARING_CONFIG, value: /etc/course-sharing/course-sharing.toml }
- { name: COURSE_SHARING_DATABASE__URL_FILE, value: /run/secrets/course-sharing/{{ .Values.secret.keys.databaseUrl }} }
{{- end }}

{{- define "course-sharing.env.catalog" -}}
{{- with .Values.secret.keys.catalogClientSecret }}
- { name: COURSE_SHARING_CATALOG__CLIENT_SECRET_FILE, value: /run/secrets/course-sharing/{{ . }} }
{{- end }}
{{- with .Values.otelEndpoint }}
# Leave out for no traces.
- { name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }} }
# Prometheus scrapes /metrics: no need to send them twice.
- { name: OTEL_METRICS_EXPORTER, value: none }
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "course-sharing.volumeMounts" -}}
- { name: config, mountPath: /etc/course-sharing, readOnly: true }
- { name: secrets, mountPath: /run/secrets/course-sharing, readOnly: true }
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "course-sharing.volumes" -}}
- name: config
  configMap: { name: {{ include "course-sharing.name" . }} }
- name: secrets
  secret: { secretName: {{ .Values.secret.name }}, defaultMode: 0440 }
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
