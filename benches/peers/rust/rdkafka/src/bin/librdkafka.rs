//! librdkafka by its C API, in the way of its own performance tool: a callback per message, no wrapper between.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;

use count::Task;
use rdkafka::bindings::{self as c, rd_kafka_type_t};

extern "C" fn message(message: *mut c::rd_kafka_message_t, task: *mut c_void) {
    // librdkafka hands out a valid message and the pointer that it was given.
    let (message, task) = unsafe { (&*message, &mut *task.cast::<Task>()) };
    match message.err {
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
            let part = |data: *mut c_void, length: usize| {
                (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) })
            };
            task.record(part(message.key, message.key_len), part(message.payload, message.len));
        }
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {}
        other => panic!("{other:?}"),
    }
}

fn main() {
    let mut task = Task::from_arguments();
    let settings = [
        ("client.id", "librdkafka".to_owned()),
        ("bootstrap.servers", task.server.clone()),
        ("check.crcs", "true".to_owned()),
        ("fetch.max.bytes", count::FETCH_BYTES.to_string()),
        ("fetch.message.max.bytes", count::PARTITION_BYTES.to_string()),
        ("fetch.wait.max.ms", count::WAIT_MS.to_string()),
        ("fetch.min.bytes", "1".to_owned()),
    ];
    let mut error: [c_char; 512] = [0; 512];
    unsafe {
        let conf = c::rd_kafka_conf_new();
        for (key, value) in settings {
            let (key, value) = (CString::new(key).unwrap(), CString::new(value).unwrap());
            c::rd_kafka_conf_set(conf, key.as_ptr(), value.as_ptr(), error.as_mut_ptr(), error.len());
        }
        let client = c::rd_kafka_new(rd_kafka_type_t::RD_KAFKA_CONSUMER, conf, error.as_mut_ptr(), error.len());
        assert!(!client.is_null(), "{:?}", CStr::from_ptr(error.as_ptr()));
        let name = CString::new(task.topic.as_str()).unwrap();
        let topic = c::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut());
        let queue = c::rd_kafka_queue_new(client);
        let from = if task.is_idle() { c::RD_KAFKA_OFFSET_END } else { c::RD_KAFKA_OFFSET_BEGINNING };
        for partition in 0..task.partitions {
            assert_eq!(c::rd_kafka_consume_start_queue(topic, partition, from.into(), queue), 0);
        }
        while !task.is_done() {
            c::rd_kafka_consume_callback_queue(queue, 500, Some(message), (&raw mut task).cast());
        }
    }
    task.finish()
}
