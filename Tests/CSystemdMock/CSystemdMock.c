#include "CSystemdMock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define MANAGER "/org/freedesktop/systemd1"
#define UNIT "/org/freedesktop/systemd1/unit/k3s_2eservice"
#define MISSING "/org/freedesktop/systemd1/unit/missing_2eservice"

struct systemd_mock {
    sd_bus *bus;
    pthread_t thread;
    atomic_bool ends;
    pthread_mutex_t lock;
    char calls[16384];
    char copy[16384];
    const char *active;
    const char *file;
    bool subscribed;
};

static void note(struct systemd_mock *mock, const char *text) {
    pthread_mutex_lock(&mock->lock);
    size_t used = strlen(mock->calls);
    snprintf(mock->calls + used, sizeof mock->calls - used, "%s\n", text);
    pthread_mutex_unlock(&mock->lock);
}

static int property(sd_bus_message *reply, const char *name, const char *type, ...) {
    va_list values;
    va_start(values, type);
    int result = sd_bus_message_open_container(reply, 'e', "sv");
    if (result >= 0) result = sd_bus_message_append(reply, "s", name);
    if (result >= 0) result = sd_bus_message_open_container(reply, 'v', type);
    if (result >= 0) result = sd_bus_message_appendv(reply, type, values);
    if (result >= 0) result = sd_bus_message_close_container(reply);
    if (result >= 0) result = sd_bus_message_close_container(reply);
    va_end(values);
    return result;
}

static int properties(struct systemd_mock *mock, sd_bus_message *call, const char *interface) {
    sd_bus_message *reply = NULL;
    int result = sd_bus_message_new_method_return(call, &reply);
    if (result < 0) return result;
    bool exists = strcmp(sd_bus_message_get_path(call), UNIT) == 0;
    sd_bus_message_open_container(reply, 'a', "{sv}");
    if (strcmp(interface, "org.freedesktop.systemd1.Unit") == 0) {
        property(reply, "LoadState", "s", exists ? "loaded" : "not-found");
        property(reply, "ActiveState", "s", exists ? mock->active : "inactive");
        property(reply, "SubState", "s", "running");
        property(reply, "UnitFileState", "s", exists ? mock->file : "");
        property(reply, "StateChangeTimestamp", "t", (uint64_t)1800000000000000);
        property(reply, "NeedDaemonReload", "b", 1);
        // Values that are not basic are passed over.
        property(reply, "After", "as", 2, "a.service", "b.service");
        property(reply, "Job", "(uo)", (uint32_t)(strcmp(mock->active, "inactive") == 0 ? 9 : 0), "/job/9");
        property(reply, "ConditionResult", "b", 1);
    } else {
        property(reply, "Result", "s", "success");
        property(reply, "NRestarts", "u", (uint32_t)7);
        property(reply, "MainPID", "u", (uint32_t)4711);
    }
    sd_bus_message_close_container(reply);
    result = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return result;
}

static int job(struct systemd_mock *mock, sd_bus_message *call, const char *unit, const char *active) {
    if (strcmp(unit, "hang.service") == 0) return 1;
    if (strcmp(unit, "k3s.service") != 0) {
        return sd_bus_reply_method_errorf(
            call, "org.freedesktop.systemd1.NoSuchUnit", "Unit %s not found.", unit);
    }
    sd_bus_reply_method_return(call, "o", MANAGER "/job/1");
    mock->active = active;
    if (mock->subscribed) {
        sd_bus_emit_signal(
            mock->bus, UNIT, "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as",
            "org.freedesktop.systemd1.Unit", 1, "ActiveState", "s", active, 0);
        sd_bus_emit_signal(
            mock->bus, MANAGER, "org.freedesktop.systemd1.Manager", "JobRemoved", "uoss", (uint32_t)1,
            MANAGER "/job/1", "k3s.service", "done");
    }
    return 1;
}

static int handle(sd_bus_message *call, void *data, sd_bus_error *error) {
    (void)error;
    struct systemd_mock *mock = data;
    uint8_t type = 0;
    if (sd_bus_message_get_type(call, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL) return 0;
    const char *member = sd_bus_message_get_member(call);
    const char *first = "", *second = "";
    char line[512];
    if (strcmp(member, "GetAll") == 0) {
        if (sd_bus_message_read(call, "s", &first) < 0) return -EBADMSG;
        return properties(mock, call, first) < 0 ? -EIO : 1;
    }
    if (strcmp(member, "EnableUnitFiles") == 0 || strcmp(member, "DisableUnitFiles") == 0) {
        int flags = 0;
        bool enable = member[0] == 'E';
        sd_bus_message_enter_container(call, 'a', "s");
        sd_bus_message_read(call, "s", &first);
        if (strcmp(first, "missing.service") == 0) {
            return sd_bus_reply_method_errorf(
                call, "org.freedesktop.DBus.Error.FileNotFound", "No such file or directory");
        }
        snprintf(line, sizeof line, "%s %s", member, first);
        note(mock, line);
        sd_bus_message_exit_container(call);
        sd_bus_message_read(call, "b", &flags);
        mock->file = enable ? "enabled" : "disabled";
        return enable ? sd_bus_reply_method_return(call, "ba(sss)", 1, 1, "symlink", "/a", "/b")
                      : sd_bus_reply_method_return(call, "a(sss)", 0);
    }
    if (sd_bus_message_has_signature(call, "ss")) sd_bus_message_read(call, "ss", &first, &second);
    snprintf(line, sizeof line, "%s%s%s%s%s", member, *first ? " " : "", first, *second ? " " : "", second);
    note(mock, line);
    if (strcmp(member, "StartUnit") == 0 || strcmp(member, "RestartUnit") == 0) {
        return job(mock, call, first, "active");
    }
    if (strcmp(member, "StopUnit") == 0) return job(mock, call, first, "inactive");
    if (strcmp(member, "Subscribe") == 0) mock->subscribed = true;
    return sd_bus_reply_method_return(call, NULL);
}

static void *serve(void *data) {
    struct systemd_mock *mock = data;
    while (!atomic_load(&mock->ends)) {
        int result = sd_bus_process(mock->bus, NULL);
        if (result < 0) break;
        if (result == 0) sd_bus_wait(mock->bus, 50000);
    }
    return NULL;
}

int systemd_mock_start(const char *address, struct systemd_mock **result) {
    struct systemd_mock *mock = calloc(1, sizeof *mock);
    if (!mock) return -ENOMEM;
    mock->active = "inactive";
    mock->file = "disabled";
    pthread_mutex_init(&mock->lock, NULL);
    int code = sd_bus_new(&mock->bus);
    if (code >= 0) code = sd_bus_set_address(mock->bus, address);
    if (code >= 0) code = sd_bus_set_bus_client(mock->bus, 1);
    if (code >= 0) code = sd_bus_start(mock->bus);
    if (code >= 0) code = sd_bus_add_filter(mock->bus, NULL, handle, mock);
    if (code >= 0) code = sd_bus_request_name(mock->bus, "org.freedesktop.systemd1", 0);
    if (code >= 0) code = -pthread_create(&mock->thread, NULL, serve, mock);
    if (code < 0) {
        sd_bus_flush_close_unref(mock->bus);
        free(mock);
        return code;
    }
    *result = mock;
    return 0;
}

void systemd_mock_stop(struct systemd_mock *mock) {
    atomic_store(&mock->ends, true);
    pthread_join(mock->thread, NULL);
    sd_bus_flush_close_unref(mock->bus);
    pthread_mutex_destroy(&mock->lock);
    free(mock);
}

const char *systemd_mock_calls(struct systemd_mock *mock) {
    pthread_mutex_lock(&mock->lock);
    memcpy(mock->copy, mock->calls, sizeof mock->copy);
    pthread_mutex_unlock(&mock->lock);
    return mock->copy;
}
